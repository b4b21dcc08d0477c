/// <linux/kvm.h>, usable from C++: the kernel wraps its flexible arrays in a structure with an
/// empty member, which takes a byte in C++ and would change sizes, offsets and ioctl numbers.
#pragma once

#include <linux/stddef.h>

#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(TYPE, NAME) TYPE NAME[]  // NOLINT: the kernel's own macro's name

#include <linux/kvm.h>

static_assert(sizeof(kvm_cpuid2) == 8 && sizeof(kvm_msrs) == 8 && sizeof(kvm_irq_routing) == 8);
