/* From the loader's hand-over to C++: 64-bit mode, the first 4 GiB identity-mapped, a stack.
 *
 * Two doors lead in: pvh_entry (PVH, 32-bit, EBX = hvm_start_info) and boot_params_entry (64-bit,
 * RSI = boot_params). The page tables are assembled instead of filled at run time: on an emulated
 * CPU that saves 3 ms. */

#include "guest-images/probe/boot.h"

    .section .note.pvh, "a", @note
    .long 4, 4, 18              /* sizes of name and descriptor, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long pvh_entry

    .section .text.boot, "ax"
    .code32
    .globl pvh_entry
pvh_entry:
    cli
    cld
    movl %ebx, start_info_address
    movl $main_entry, %ebx
    movl $boot_stack_top, %esp
    lgdt gdt_pointer
    jmp enter_long_mode

/* EBX = 64-bit address to go on at; used by the application processors as well. */
    .globl enter_long_mode
enter_long_mode:
    movl $boot_page_tables, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    wrmsr
    movl %cr0, %eax
    andl $~(CR0_CD | CR0_NW | CR0_EM | CR0_TS), %eax
    orl $(CR0_PG | CR0_NE | CR0_PE), %eax
    movl %eax, %cr0
    ljmp $SELECTOR_CODE64, $long_mode

    .code64
long_mode:
    movl $SELECTOR_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl %ebx, %ebx
    jmp *%rbx

    .globl boot_params_entry
boot_params_entry:
    cli
    cld
    movq %rsi, boot_params_address(%rip)
    leaq boot_stack_top(%rip), %rsp
    lgdt gdt_pointer(%rip)
    movl $boot_page_tables, %eax
    movq %rax, %cr3
    movl $main_entry, %ebx
    pushq $SELECTOR_CODE64
    pushq $long_mode
    lretq

main_entry:
    leaq boot_stack_top(%rip), %rsp
    call probe_main
1:  cli
    hlt
    jmp 1b

    .section .data
    .balign 8
    .globl gdt
gdt:
    .quad 0
    .quad 0x00af9b000000ffff    /* SELECTOR_CODE64 */
    .quad 0x00cf93000000ffff    /* SELECTOR_DATA */
    .quad 0x00cf9b000000ffff    /* SELECTOR_CODE32 */
gdt_end:
    .balign 8
    .globl gdt_pointer
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt

    .globl start_info_address, boot_params_address
    .balign 8
start_info_address:
    .quad 0
boot_params_address:
    .quad 0

    .balign 4096
    .globl boot_page_tables
boot_page_tables:
    .quad page_directory_pointers + PAGE_PRESENT_WRITABLE
    .fill 511, 8, 0
page_directory_pointers:
    .quad page_directories + 0x0000 + PAGE_PRESENT_WRITABLE
    .quad page_directories + 0x1000 + PAGE_PRESENT_WRITABLE
    .quad page_directories + 0x2000 + PAGE_PRESENT_WRITABLE
    .quad page_directories + 0x3000 + PAGE_PRESENT_WRITABLE
    .fill 508, 8, 0
page_directories:
    .set page, 0
    .rept 2048
    .quad (page << 21) + PAGE_LARGE + PAGE_PRESENT_WRITABLE
    .set page, page + 1
    .endr

    .section .bss
    .balign 4096
    .skip 32768
boot_stack_top:

    .section .note.GNU-stack, "", @progbits
