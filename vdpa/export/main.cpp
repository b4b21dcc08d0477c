#include "vdpa/export/command_line.hpp"

int main(int argc, char** argv) {
    return viaduct::vduse::run(argc, argv);
}
