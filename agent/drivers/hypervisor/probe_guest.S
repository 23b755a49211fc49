# The probe's guest: a ROM in place of the BIOS that does what every kernel does on its way up and says how far it
# came, one letter per stage, on the debug console (port 0x402). probe_rom.py holds its bytes; see there.
#
#   P  32-bit protected mode            U  user mode entered by sysret, left by syscall
#   L  long mode, paging on             S  SSE registers
#   H  running in the upper half        T  three timer interrupts ended `hlt`
#   M  MSRs and cpuid                   .  a hundred million instructions: executed, not interpreted
#
# The low 4 KiB of the code segment is what the linker puts at 0xff000; the processor starts at 0xffff0.

        .set    PORT,   0x402
        .set    EXIT,   0x501           # isa-debug-exit: writing n ends QEMU with status 2n + 1
        .set    HIGH,   0xffffffff80000000
        .set    PML4,   0x10000
        .set    PDPT,   0x11000         # of both halves
        .set    PD,     0x12000         # 1 GiB from address 0
        .set    PD_TOP, 0x13000         # the GiB of the local APIC
        .set    IDT,    0x14000
        .set    TSS,    0x15000         # in the descriptor: 0x5000 and a 1 above it
        .set    STACK,  0x20000
        .set    USTACK, 0x30000
        .set    APIC,   0xfee00000
        .set    VECTOR, 0x40
        .set    ROUNDS, 50000000

        .macro  say letter
        mov     $PORT, %dx
        mov     $\letter, %al
        out     %al, %dx
        .endm

        .section .text
        .globl  _start
_start:
        .code16
start16:
        cli
        lgdtl   %cs:(gdt_pointer - 0xf0000)
        mov     %cr0, %eax
        or      $1, %al
        mov     %eax, %cr0
        ljmpl   $8, $start32

        .code32
start32:
        mov     $16, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $STACK, %esp
        say     'P'
        # Page tables: the first GiB at 0 and at HIGH, the APIC at its own address; every page also the user's.
        cld
        xor     %eax, %eax
        mov     $PML4, %edi
        mov     $0x6000 / 4, %ecx
        rep stosl
        movl    $PDPT + 7, PML4
        movl    $PDPT + 7, PML4 + 511 * 8
        movl    $PD + 7, PDPT
        movl    $PD_TOP + 7, PDPT + 3 * 8
        movl    $PD + 7, PDPT + 510 * 8
        mov     $PD, %edi
        mov     $0x87, %eax
        mov     $512, %ecx
1:      mov     %eax, (%edi)
        add     $0x200000, %eax
        add     $8, %edi
        loop    1b
        movl    $APIC + 0x9f, PD_TOP + 503 * 8
        # PAE, OSFXSR, OSXMMEXCPT; EFER: SCE, LME; CR0: paging, write protection, monitor of the coprocessor
        mov     $0x620, %eax
        mov     %eax, %cr4
        mov     $PML4, %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx
        rdmsr
        or      $0x101, %eax
        wrmsr
        mov     $0x80010033, %eax
        mov     %eax, %cr0
        ljmpl   $24, $start64

        .code64
start64:
        say     'L'
        movabs  $HIGH + upper, %rax
        jmp     *%rax
upper:
        movabs  $HIGH + STACK, %rsp
        lgdt    gdt_pointer_high(%rip)
        say     'H'
        # A TSS, for the kernel stack when an interrupt comes in user mode.
        movabs  $HIGH + STACK, %rax
        mov     %rax, TSS + 4
        mov     $56, %eax
        ltr     %ax
        # Interrupt gates: everything is fatal but the timer.
        mov     $IDT, %edi
        mov     $256, %ecx
        lea     fatal(%rip), %rax
        call    gate
        mov     $IDT + VECTOR * 16, %edi
        mov     $1, %ecx
        lea     tick(%rip), %rax
        call    gate
        lidt    idt_pointer(%rip)
        # What a kernel asks of cpuid and MSRs before its first system call.
        mov     $1, %eax
        cpuid
        mov     $0x1b, %ecx             # IA32_APIC_BASE
        rdmsr
        or      $0x800, %eax
        wrmsr
        mov     $0xc0000081, %ecx       # STAR: kernel 24, user from 32
        xor     %eax, %eax
        mov     $(35 << 16) | 24, %edx
        wrmsr
        mov     $0xc0000082, %ecx       # LSTAR
        lea     syscalled(%rip), %rax
        mov     %rax, %rdx
        shr     $32, %rdx
        wrmsr
        mov     $0xc0000084, %ecx       # FMASK: interrupts off
        mov     $0x200, %eax
        xor     %edx, %edx
        wrmsr
        mov     $0xc0000102, %ecx       # KERNEL_GS_BASE, there and back
        mov     $0x1234, %eax
        wrmsr
        swapgs
        mov     $0xc0000101, %ecx
        rdmsr
        cmp     $0x1234, %eax
        jne     fatal
        swapgs
        say     'M'
        mov     $user, %ecx
        mov     $0x2, %r11d
        mov     $USTACK, %esp
        sysretq
user:
        push    %rcx
        pop     %rbx
        syscall
        hlt                             # not reached; in user mode it would fault
syscalled:
        movabs  $HIGH + STACK, %rsp
        cmp     $user, %ebx
        jne     fatal
        say     'U'
        mov     $7, %eax
        movd    %eax, %xmm0
        paddd   %xmm0, %xmm0
        movd    %xmm0, %eax
        cmp     $14, %eax
        jne     fatal
        say     'S'
        # The local APIC's timer, periodic; `hlt` returns once per interrupt.
        mov     $APIC, %edi
        movl    $0x1ff, 0xf0(%rdi)      # enable, spurious vector 255
        movl    $0x3, 0x3e0(%rdi)       # divide by 16
        movl    $0x20000 | VECTOR, 0x320(%rdi)
        movl    $10000, 0x380(%rdi)
        xor     %ebp, %ebp
1:      sti
        hlt
        cli
        cmp     $3, %ebp
        jb      1b
        movl    $0x10000, 0x320(%rdi)
        say     'T'
        mov     $ROUNDS, %ecx
1:      dec     %ecx
        jnz     1b
        say     '.'
        mov     $EXIT, %edx
        xor     %eax, %eax
        out     %al, %dx
stop:   cli
        hlt
        jmp     stop

tick:
        inc     %ebp
        movl    $0, 0xb0(%rdi)          # end of interrupt
        iretq
fatal:
        say     '!'
        mov     $EXIT, %edx
        mov     $1, %al
        out     %al, %dx
        jmp     stop

# %ecx gates from %rdi on, to the handler %rax
gate:
1:      mov     %ax, (%rdi)
        movw    $24, 2(%rdi)
        movw    $0x8e00, 4(%rdi)
        mov     %rax, %rdx
        shr     $16, %rdx
        mov     %dx, 6(%rdi)
        shr     $16, %rdx
        mov     %edx, 8(%rdi)
        movl    $0, 12(%rdi)
        add     $16, %rdi
        loop    1b
        ret

        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9b000000ffff      #  8  32-bit code
        .quad   0x00cf93000000ffff      # 16  data
        .quad   0x00af9b000000ffff      # 24  64-bit code; data follows, as `syscall` wants it
        .quad   0x00cf93000000ffff      # 32
        .quad   0x00cff3000000ffff      # 40  user data, then 64-bit user code, as `sysret` wants them
        .quad   0x00affb000000ffff      # 48
        .quad   0x8000890100000067 | ((TSS & 0xffff) << 16)     # 56  TSS at HIGH + 0x15000
        .quad   0x00000000ffffffff
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt
gdt_pointer_high:
        .word   gdt_end - gdt - 1
        .quad   HIGH + gdt
idt_pointer:
        .word   256 * 16 - 1
        .quad   HIGH + IDT

        .org    0xff0
        .code16
reset:
        ljmpw   $0xf000, $(start16 - 0xf0000)
        .org    0x1000
