// Keeps one virtual machine with one CPU open for as long as the lab lives.
//
// KVM rewrites the kernel's code (static keys in the scheduler and the local APIC) when the first
// machine appears and when the last one goes. QEMU's emulation of several CPUs, 7.2 and 10.0 alike,
// now and then keeps running the intermediate int3 of such a rewrite, and the lab's kernel dies. With
// a machine always there, the rewriting happens once, before the snapshot.
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(void) {
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (ioctl(vm, KVM_CREATE_IRQCHIP, 0) != 0 || ioctl(vm, KVM_CREATE_VCPU, 0) < 0) {
        perror("hold-kvm");
        return 1;
    }
    // Tells the caller, who waits for the end of this process, that it is done.
    if (fork() != 0) {
        return 0;
    }
    for (;;) {
        pause();
    }
}
