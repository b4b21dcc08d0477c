/* Constants shared by the assembly files. */
#pragma once

#define SELECTOR_CODE64 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_CODE32 0x18

#define CR0_PE 0x00000001
#define CR0_EM 0x00000004
#define CR0_TS 0x00000008
#define CR0_NE 0x00000020
#define CR0_NW 0x20000000
#define CR0_CD 0x40000000
#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100

#define PAGE_PRESENT_WRITABLE 0x03
#define PAGE_LARGE 0x80

/* Where an application processor starts: a page below 1 MiB (SIPI vector 8). */
#define TRAMPOLINE_ADDRESS 0x8000
