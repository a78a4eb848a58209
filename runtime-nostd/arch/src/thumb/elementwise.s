@ Sum of two feature maps and greatest values, four codes a word. See elementwise.rs for who calls.

    .syntax unified
    .cpu cortex-m4
    .thumb

@ secateur_add_*(call): r0, r1 inputs, r2 output, r3 end of the first input, r4, r5 multipliers, r6 what the zero points add,
@ r7, r8 slopes, r9 zero point, r10, r11 four codes of each input.
.macro sum_of_two name, slopes
    .section .text.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
    .p2align 2
\name:
    push {r4-r12, lr}
    ldmia r0, {r0-r9}
1:  ldr r10, [r0], #4
    ldr r11, [r1], #4
.irp turn, 0, 8, 16, 24
    .if \turn
    sxtb r12, r10, ror #\turn
    sxtb lr, r11, ror #\turn
    .else
    sxtb r12, r10
    sxtb lr, r11
    .endif
    mla r12, r12, r4, r6
    mla r12, lr, r5, r12
.if \slopes
    and lr, r8, r12, asr #31
    add lr, lr, r7
    smmlar r12, r12, lr, r9
.else
    smmlar r12, r12, r7, r9
.endif
    ssat r12, #8, r12
    strb r12, [r2], #1
.endr
    cmp r0, r3
    bne 1b
    pop {r4-r12, pc}
    .size \name, . - \name
.endm

    sum_of_two secateur_add_linear, 0
    sum_of_two secateur_add_slopes, 1

@ secateur_max_columns(to, source, bytes from row to row, bytes from column to column, rows, columns): the greatest of the
@ rows' four codes at each column, a word each.
    .section .text.secateur_max_columns, "ax", %progbits
    .global secateur_max_columns
    .type secateur_max_columns, %function
    .thumb_func
secateur_max_columns:
    push {r4-r10, lr}
    ldrd r4, r5, [sp, #32]
    @ Rows beyond the first, in twos, and whether one is left.
    subs r4, #1
    lsr r9, r4, #1
    and r10, r4, #1
1:  ldr r6, [r1]
    add r7, r1, r2
    cmp r10, #0
    beq 2f
    ldr r8, [r7]
    add r7, r7, r2
    ssub8 r12, r6, r8
    sel r6, r6, r8
2:  movs r12, r9
    beq 4f
3:  ldr r8, [r7]
    ldr lr, [r7, r2]
    add r7, r7, r2, lsl #1
    ssub8 r4, r6, r8
    sel r6, r6, r8
    ssub8 r4, r6, lr
    sel r6, r6, lr
    subs r12, #1
    bne 3b
4:  str r6, [r0], #4
    add r1, r1, r3
    subs r5, #1
    bne 1b
    pop {r4-r10, pc}
    .size secateur_max_columns, . - secateur_max_columns

@ secateur_max_rows(out, pitch, words, words from output to output, window, outputs): the greatest four codes of `window` words
@ for each output.
    .section .text.secateur_max_rows, "ax", %progbits
    .global secateur_max_rows
    .type secateur_max_rows, %function
    .thumb_func
secateur_max_rows:
    push {r4-r9, lr}
    ldrd r4, r5, [sp, #28]
    lsl r3, r3, #2
    subs r4, #1
1:  mov r7, r2
    ldr r6, [r7], #4
    movs r12, r4
    beq 3f
2:  ldr r8, [r7], #4
    ssub8 r9, r6, r8
    sel r6, r6, r8
    subs r12, #1
    bne 2b
3:  str r6, [r0]
    add r0, r0, r1
    add r2, r2, r3
    subs r5, #1
    bne 1b
    pop {r4-r9, pc}
    .size secateur_max_rows, . - secateur_max_rows
    .text
