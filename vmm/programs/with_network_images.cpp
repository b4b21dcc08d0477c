#include "vmm/programs/network_images.hpp"
#ifdef VIADUCT_NBD
#include "vdpa/soft/image/nbd/nbd_image.hpp"
#endif
#ifdef VIADUCT_RBD
#include "vdpa/soft/image/rbd/rbd_image.hpp"
#endif

namespace viaduct::vmm {

void prepare_network_images(const Config& /*config*/, char** /*argv*/) {
#ifdef VIADUCT_NBD
    soft::provide_nbd();
#endif
#ifdef VIADUCT_RBD
    soft::provide_rbd();
#endif
}

}  // namespace viaduct::vmm
