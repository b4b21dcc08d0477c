#include "vmm/ctl/command_line.hpp"

int main(int argc, char** argv) {
    return viaduct::ctl::run(argc, argv);
}
