/* First instructions of an application processor: real mode at TRAMPOLINE_ADDRESS, up to C++. */

#include "guest-images/probe/boot.h"

    .section .text
    .code16
    .globl trampoline_start, trampoline_end
trampoline_start:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl TRAMPOLINE_ADDRESS + (trampoline_gdt_pointer - trampoline_start)
    movl %cr0, %eax
    orl $CR0_PE, %eax
    movl %eax, %cr0
    ljmpl $SELECTOR_CODE32, $trampoline_protected
    .balign 4
trampoline_gdt_pointer:
    .word 4 * 8 - 1
    .long gdt
trampoline_end:

    .code32
trampoline_protected:
    movl $SELECTOR_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $application_processor, %ebx
    jmp enter_long_mode

    .code64
application_processor:
    movq application_stack(%rip), %rsp
    call application_processor_main
1:  cli
    hlt
    jmp 1b

    .section .data
    .balign 8
    .globl application_stack
application_stack:
    .quad 0

    .section .note.GNU-stack, "", @progbits
