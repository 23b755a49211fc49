/* What a computer boots from a CD (El Torito, without emulation): it installs a boot sector on the first disk and
   restarts; that one says so on the serial line. */
.code16
.global _start
_start:
        ljmp    $0, $1f
1:      xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7000, %sp
        cld
        movw    $installing, %si
        call    say
        movw    $packet, %si
        movw    $0x4300, %ax            /* write, as the packet says */
        movb    $0x80, %dl              /* to the first disk */
        int     $0x13
        jc      failed
        movw    $installed, %si
        call    say
        movb    $0xfe, %al              /* the keyboard controller resets the machine */
        outb    %al, $0x64
stop:   hlt
        jmp     stop
failed: movw    $refused, %si
        call    say
        jmp     stop

say:    movw    $0x3f8, %dx
1:      lodsb
        testb   %al, %al
        jz      2f
        outb    %al, %dx
        jmp     1b
2:      ret

packet: .byte   16, 0
        .word   1                       /* sectors */
        .word   disk, 0                 /* from here */
        .quad   0                       /* to this one */
installing:     .asciz "installer: runs\r\n"
installed:      .asciz "installer: done\r\n"
refused:        .asciz "installer: the disk cannot be written\r\n"

        .balign 512
disk:   xorw    %ax, %ax
        movw    %ax, %ds
        cld
        movw    $(0x7c00 + text - disk), %si
        movw    $0x3f8, %dx
1:      lodsb
        testb   %al, %al
        jz      2f
        outb    %al, %dx
        jmp     1b
2:      hlt
        jmp     2b
text:   .asciz "disk: booted\r\n"
        .org    disk + 510
        .word   0xaa55
