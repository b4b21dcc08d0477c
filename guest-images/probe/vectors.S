/* One stub per vector: exceptions and interrupts look alike on the stack, see InterruptFrame. */

    .section .text
    .altmacro
    .macro vector_stub number
    .balign 16
    .if (\number == 8) || ((\number >= 10) && (\number <= 14)) || (\number == 17)
    .else
    pushq $0                    /* the CPU pushes no error code */
    .endif
    pushq $\number
    jmp vector_common
    .endm

    .balign 16
    .globl vector_stubs
vector_stubs:
    .set number, 0
    .rept 256
    vector_stub %number
    .set number, number + 1
    .endr

vector_common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbx
    movq %rsp, %rdi
    movq %rsp, %rbx
    andq $-16, %rsp
    cld
    call vector_entry
    movq %rbx, %rsp
    popq %rbx
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq

    .section .note.GNU-stack, "", @progbits
