#include <csignal>

#include "base/descriptor_limit.hpp"
#include "vdpa/export/command_line.hpp"
#ifdef VIADUCT_NBD
#include "vdpa/soft/image/nbd/nbd_image.hpp"
#endif
#ifdef VIADUCT_RBD
#include "vdpa/soft/image/rbd/rbd_image.hpp"
#endif

int main(int argc, char** argv) {
    // Whoever read its log may be gone; its disk's users are not.
    (void)::signal(SIGPIPE, SIG_IGN);
    viaduct::raise_descriptor_limit();
#ifdef VIADUCT_NBD
    viaduct::soft::provide_nbd();
#endif
#ifdef VIADUCT_RBD
    viaduct::soft::provide_rbd();
#endif
    return viaduct::vduse::run(argc, argv);
}
