/*
 * The devices that every x86-64 machine has (ACPI 6.4, chapters 6 and 19). What differs between
 * machines, the CPUs and the 64-bit PCI window, is in the SSDT that firmware/acpi/tables.cpp
 * generates. Numbers shared with the rest of the machine are defined in firmware/memory_map.hpp;
 * a test holds the two together.
 *
 * The build passes this file through the C preprocessor before iasl, whose own knows no macros with
 * arguments.
 */

#define ROUTE(address, pin, gsi) Package (4) { address, pin, Zero, gsi }
#define ROUTES(address, a, b, c, d) \
    ROUTE (address, 0, a), ROUTE (address, 1, b), ROUTE (address, 2, c), ROUTE (address, 3, d)

#define SLOT(name, address, number) \
    Device (name) { Name (_ADR, address) Name (_SUN, number) }

DefinitionBlock ("dsdt.aml", "DSDT", 2, "VIADCT", "VIADUCT ", 1)
{
    /* From the SSDT: base and length of the 64-bit PCI window; length 0 if there is none. */
    External (\_SB.PCI0.W64B, IntObj)
    External (\_SB.PCI0.W64L, IntObj)

    /* Power-off: SLP_TYPa 5. There is no PM1b. */
    Name (\_S5, Package (4) { 5, Zero, Zero, Zero })

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_UID, Zero)
            Name (_SEG, Zero)
            Name (_BBN, Zero)

            Name (RES0, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0, 0, 0, 0, 1)
                IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0000, 0x0CF7, 0, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0D00, 0xFFFF, 0, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable,
                    ReadWrite, 0, 0xC0000000, 0xDFFFFFFF, 0, 0x20000000)
            })

            Name (RES1, ResourceTemplate ()
            {
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable,
                    ReadWrite, 0, 0, 0, 0, 1, , , WIN)
            })
            CreateQWordField (RES1, WIN._MIN, BASE)
            CreateQWordField (RES1, WIN._MAX, LAST)
            CreateQWordField (RES1, WIN._LEN, LENG)

            Method (_CRS, 0, Serialized)
            {
                If (W64L == Zero) { Return (RES0) }
                BASE = W64B
                LENG = W64L
                LAST = W64B + W64L - 1
                Return (ConcatenateResTemplate (RES0, RES1))
            }

            /*
             * The operating system may ask for any feature; there are no root ports, so there is
             * nothing to hand over, and it is told so by cleared bits rather than by an error.
             */
            Method (_OSC, 4, Serialized)
            {
                CreateDWordField (Arg3, 0, CDW1)
                If (Arg0 != ToUUID ("33db4d5b-1ff7-401c-9657-7441c03dd766"))
                {
                    CDW1 |= 4   /* unrecognised UUID */
                    Return (Arg3)
                }
                CreateDWordField (Arg3, 8, CDW3)
                If (CDW3 != Zero)
                {
                    CDW3 = Zero
                    CDW1 |= 0x10    /* capabilities masked */
                }
                Return (Arg3)
            }

            /* gsi_of(slot, pin) = 16 + (slot + pin) % 8, pins counted from INTA = 0. */
            Name (_PRT, Package (128)
            {
                ROUTES (0x0000FFFF, 16, 17, 18, 19),
                ROUTES (0x0001FFFF, 17, 18, 19, 20),
                ROUTES (0x0002FFFF, 18, 19, 20, 21),
                ROUTES (0x0003FFFF, 19, 20, 21, 22),
                ROUTES (0x0004FFFF, 20, 21, 22, 23),
                ROUTES (0x0005FFFF, 21, 22, 23, 16),
                ROUTES (0x0006FFFF, 22, 23, 16, 17),
                ROUTES (0x0007FFFF, 23, 16, 17, 18),
                ROUTES (0x0008FFFF, 16, 17, 18, 19),
                ROUTES (0x0009FFFF, 17, 18, 19, 20),
                ROUTES (0x000AFFFF, 18, 19, 20, 21),
                ROUTES (0x000BFFFF, 19, 20, 21, 22),
                ROUTES (0x000CFFFF, 20, 21, 22, 23),
                ROUTES (0x000DFFFF, 21, 22, 23, 16),
                ROUTES (0x000EFFFF, 22, 23, 16, 17),
                ROUTES (0x000FFFFF, 23, 16, 17, 18),
                ROUTES (0x0010FFFF, 16, 17, 18, 19),
                ROUTES (0x0011FFFF, 17, 18, 19, 20),
                ROUTES (0x0012FFFF, 18, 19, 20, 21),
                ROUTES (0x0013FFFF, 19, 20, 21, 22),
                ROUTES (0x0014FFFF, 20, 21, 22, 23),
                ROUTES (0x0015FFFF, 21, 22, 23, 16),
                ROUTES (0x0016FFFF, 22, 23, 16, 17),
                ROUTES (0x0017FFFF, 23, 16, 17, 18),
                ROUTES (0x0018FFFF, 16, 17, 18, 19),
                ROUTES (0x0019FFFF, 17, 18, 19, 20),
                ROUTES (0x001AFFFF, 18, 19, 20, 21),
                ROUTES (0x001BFFFF, 19, 20, 21, 22),
                ROUTES (0x001CFFFF, 20, 21, 22, 23),
                ROUTES (0x001DFFFF, 21, 22, 23, 16),
                ROUTES (0x001EFFFF, 22, 23, 16, 17),
                ROUTES (0x001FFFFF, 23, 16, 17, 18)
            })

            /* A place for every device that may come, so that names and numbers never move. */
            SLOT (S01, 0x00010000, 1)
            SLOT (S02, 0x00020000, 2)
            SLOT (S03, 0x00030000, 3)
            SLOT (S04, 0x00040000, 4)
            SLOT (S05, 0x00050000, 5)
            SLOT (S06, 0x00060000, 6)
            SLOT (S07, 0x00070000, 7)
            SLOT (S08, 0x00080000, 8)
            SLOT (S09, 0x00090000, 9)
            SLOT (S0A, 0x000A0000, 10)
            SLOT (S0B, 0x000B0000, 11)
            SLOT (S0C, 0x000C0000, 12)
            SLOT (S0D, 0x000D0000, 13)
            SLOT (S0E, 0x000E0000, 14)
            SLOT (S0F, 0x000F0000, 15)
            SLOT (S10, 0x00100000, 16)
            SLOT (S11, 0x00110000, 17)
            SLOT (S12, 0x00120000, 18)
            SLOT (S13, 0x00130000, 19)
            SLOT (S14, 0x00140000, 20)
            SLOT (S15, 0x00150000, 21)
            SLOT (S16, 0x00160000, 22)
            SLOT (S17, 0x00170000, 23)
            SLOT (S18, 0x00180000, 24)
            SLOT (S19, 0x00190000, 25)
            SLOT (S1A, 0x001A0000, 26)
            SLOT (S1B, 0x001B0000, 27)
            SLOT (S1C, 0x001C0000, 28)
            SLOT (S1D, 0x001D0000, 29)
            SLOT (S1E, 0x001E0000, 30)
            SLOT (S1F, 0x001F0000, 31)
        }

        /* What is decoded but belongs to no device above. */
        Device (MBRD)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, Zero)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0600, 0x0600, 1, 6)             /* PM1a */
                Memory32Fixed (ReadWrite, 0xE0000000, 0x00100000)   /* ECAM */
            })
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, One)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 1, 8)
                IRQNoFlags () { 4 }
            })
        }

        Device (RTC0)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 1, 2)
                IRQNoFlags () { 8 }
            })
        }
    }
}
