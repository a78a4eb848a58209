@ Sums of products of pairs of inputs, two outputs at a time. See conv.rs for who calls, and for the words.
@
@ pw4_*: four pixels side by side, all fourteen registers:
@   r0-r3   sums of the first output, a pixel each        r8, r9  two pixels' pairs of inputs
@   r4-r7   sums of the second                            r11     the first output's weights, r10: the second's or,
@                                                                 folded, both
@   r12     next pair of inputs                           lr      next word
@ pw1_*: one pixel.

    .syntax unified
    @ All are Armv7E-M's. Without a name, LLVM refuses the DSP extension of Armv8-M: it reads assembly without the
    @ processor's features where programs are optimised when linking.
    .cpu cortex-m4
    .thumb

@ The frame: `Call` of conv.rs.
    .equ pw_out, 0
    .equ pw_pitch, 4
    .equ pw_zero, 8
    .equ pw_words_end, 12
    .equ pw_x, 16
    .equ pw_x_end, 20
    .equ pw_entry, 24
    .equ pw_words, 28
    .equ pw_tiles, 32
    .equ pw_src, 36
    .equ pw_stride, 40
    .equ pw_quads, 44
    .equ pw_rest, 48
    .equ pw_base, 52
    .equ pw_blocks, 24
    .equ pw_odd, 56
    .equ pw_exit, 56

@ Copies the caller's frame to the stack: r0 points to it.
@ The function's beginning.
.macro pw_enter name
    .section .text.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
    .p2align 2
\name:
    push {r4-r11, lr}
    ldmia r0!, {r4-r11}
    ldmia r0!, {r1-r3, r12}
    ldmia r0, {r0, lr}
    sub sp, #8
    push {r0, lr}
    push {r1-r3, r12}
    push {r4-r11}
.endm

.macro pw_leave name
    add sp, #64
    pop {r4-r11, pc}
    .size \name, . - \name
.endm

@ Widens four pixels of `quads` · 4 + `rest` inputs into the tile.
.macro pw_widen4
    ldr r0, [sp, #pw_src]
    ldr r4, [sp, #pw_stride]
    add r1, r0, r4
    add r2, r1, r4
    add r3, r2, r4
    add r4, r3, r4
    str r4, [sp, #pw_src]
    ldr r12, [sp, #pw_x]
    ldr lr, [sp, #pw_quads]
    pw_widen pw_rest
.endm

@ Pixels at r0-r3, tile at r12, lr times four inputs and as many more as the word at \rest of the frame says.
.macro pw_widen rest
    cmp lr, #0
    beq 12f
11: ldr r4, [r0], #4
    ldr r5, [r1], #4
    ldr r6, [r2], #4
    ldr r7, [r3], #4
    sxtb16 r8, r4
    sxtb16 r9, r5
    sxtb16 r10, r6
    sxtb16 r11, r7
    stmia r12!, {r8-r11}
    sxtb16 r8, r4, ror #8
    sxtb16 r9, r5, ror #8
    sxtb16 r10, r6, ror #8
    sxtb16 r11, r7, ror #8
    stmia r12!, {r8-r11}
    subs lr, #1
    bne 11b
12: ldr lr, [sp, #\rest]
    cmp lr, #1
    blo 15f
    beq 14f
    ldrsb r4, [r0], #1
    ldrsb r5, [r1], #1
    ldrsb r6, [r2], #1
    ldrsb r7, [r3], #1
    ldrsb r8, [r0], #1
    ldrsb r9, [r1], #1
    ldrsb r10, [r2], #1
    ldrsb r11, [r3], #1
    pkhbt r4, r4, r8, lsl #16
    pkhbt r5, r5, r9, lsl #16
    pkhbt r6, r6, r10, lsl #16
    pkhbt r7, r7, r11, lsl #16
    stmia r12!, {r4-r7}
    cmp lr, #2
    beq 15f
14: ldrsb r4, [r0]
    ldrsb r5, [r1]
    ldrsb r6, [r2]
    ldrsb r7, [r3]
    stmia r12!, {r4-r7}
15:
.endm

@ A pair of inputs: loads, and products for pixels 0 and 1, then 2 and 3.
.macro pw_body folded
.if \folded
    ldr.w r10, [lr], #4
    sxtb16 r11, r10
    ldrd r8, r9, [r12], #16
.else
    ldrd r11, r10, [lr], #8
    ldrd r8, r9, [r12], #16
.endif
    smlad r0, r8, r11, r0
    smlad r1, r9, r11, r1
    smlad r4, r8, r10, r4
    smlad r5, r9, r10, r5
    ldrd r8, r9, [r12, #-8]
    smlad r2, r8, r11, r2
    smlad r3, r9, r11, r3
    smlad r6, r8, r10, r6
    smlad r7, r9, r10, r7
.endm

@ The same for the first pair, whose addends are the biases.
.macro pw_first folded
    ldrd r3, r7, [lr], #8
    ldr r12, [sp, #pw_x]
.if \folded
    ldr r10, [lr], #4
    add r7, r3, r7, lsl #8
    sxtb16 r11, r10
.else
    ldrd r11, r10, [lr], #8
.endif
    ldrd r8, r9, [r12], #16
    smlad r0, r8, r11, r3
    smlad r1, r9, r11, r3
    smlad r4, r8, r10, r7
    smlad r5, r9, r10, r7
    ldrd r8, r9, [r12, #-8]
    smlad r2, r8, r11, r3
    smlad r3, r9, r11, r3
    smlad r6, r8, r10, r7
    smlad r7, r9, r10, r7
.endm

@ Eight sums become codes: r10 is the zero point.
.macro pw_linear acc0, acc1, acc2, acc3, m
    smmlar \acc0, \acc0, \m, r10
    smmlar \acc1, \acc1, \m, r10
    smmlar \acc2, \acc2, \m, r10
    smmlar \acc3, \acc3, \m, r10
.endm

.macro pw_slopes acc0, acc1, acc2, acc3
    ldrd r11, r12, [lr], #8
.irp acc, \acc0, \acc1, \acc2, \acc3
    and r9, r12, \acc, asr #31
    add r9, r9, r11
    smmlar \acc, \acc, r9, r10
.endr
.endm

@ Slope, what it takes more below zero, shift: r10-r12; half of the shift's unit: r8.
.macro pw_general accs:vararg
    ldmia lr!, {r10-r12}
    mov r8, #1
    lsl r8, r8, r12
    lsr r8, r8, #1
.irp acc, \accs
    and r9, r11, \acc, asr #31
    add r9, r9, r10
    smmla \acc, \acc, r9, r8
    asr \acc, \acc, r12
.endr
.endm

.macro pw_epilogue4 folded, form
.if \folded
    sub r4, r4, r0
    sub r5, r5, r1
    sub r6, r6, r2
    sub r7, r7, r3
    asr r4, r4, #8
    asr r5, r5, #8
    asr r6, r6, #8
    asr r7, r7, #8
.endif
.if \form == 0
    ldrd r11, r12, [lr], #8
    ldmia sp, {r8-r10}
    pw_linear r0, r1, r2, r3, r11
    pw_linear r4, r5, r6, r7, r12
.elseif \form == 1
    ldr r10, [sp, #pw_zero]
    pw_slopes r0, r1, r2, r3
    pw_slopes r4, r5, r6, r7
    ldrd r8, r9, [sp, #pw_out]
.else
    pw_general r0, r1, r2, r3
    pw_general r4, r5, r6, r7
    ldmia sp, {r8-r10}
    .irp acc, r0, r1, r2, r3, r4, r5, r6, r7
    add \acc, \acc, r10
    .endr
.endif
    add r12, r8, r9
    .irp acc, r0, r1, r2, r3, r4, r5, r6, r7
    ssat \acc, #8, \acc
    .endr
    strb r2, [r8, r9, lsl #1]
    strb r3, [r12, r9, lsl #1]
    strb r0, [r8], #1
    strb r1, [r12], #1
    strb r6, [r8, r9, lsl #1]
    strb r7, [r12, r9, lsl #1]
    strb r4, [r8], #1
    strb r5, [r12]
    str r8, [sp, #pw_out]
.endm

@ Begins a tile of `pixels` pixels: output pointers and first word.
.macro pw_tile pixels
    ldr r8, [sp, #pw_base]
    ldr r9, [sp, #pw_pitch]
    ldr lr, [sp, #pw_words]
    str r8, [sp, #pw_out]
.if \pixels == 4
    add r8, r8, r9, lsl #2
.else
    add r8, r8, r9
.endif
    str r8, [sp, #pw_base]
.endm

.macro pw4 name, folded, form
    pw_enter \name
    @ Where the first round enters the eight bodies, so that the last ends with the last pair.
    ldrd r0, r1, [sp, #pw_x]
    sub r1, r1, r0
    lsrs r1, r1, #4
    subs r1, #1
    ite eq
    adreq.w r2, 5f
    adrne.w r2, 4f
    rsb r1, r1, #0
    and r1, r1, #7
    mov r3, #(44 + 4 * \folded)
    mla r2, r1, r3, r2
    orr r2, r2, #1
    str r2, [sp, #pw_entry]
    @ One round needs no look at where the tile ends.
    ldrd r0, r1, [sp, #pw_x]
    sub r1, r1, r0
    cmp r1, #9 * 16
    ite hi
    adrhi.w r2, 6f
    adrls.w r2, 5f
    orr r2, r2, #1
    str r2, [sp, #pw_exit]
2:  pw_widen4
    pw_tile 4
3:  pw_first \folded
    ldr pc, [sp, #pw_entry]
    .p2align 2
4:
.rept 8
    pw_body \folded
.endr
    ldr pc, [sp, #pw_exit]
    .p2align 2
6:  ldr r10, [sp, #pw_x_end]
    cmp r12, r10
    bne.w 4b
    .p2align 2
5:  pw_epilogue4 \folded, \form
    ldr r9, [sp, #pw_words_end]
    cmp lr, r9
    bne.w 3b
    ldr r8, [sp, #pw_tiles]
    subs r8, #1
    str r8, [sp, #pw_tiles]
    bne.w 2b
    pw_leave \name
.endm

@ Widens a pixel of `quads` · 4 + `rest` inputs.
.macro pw_widen1
    ldr r0, [sp, #pw_src]
    ldr r4, [sp, #pw_stride]
    add r4, r0, r4
    str r4, [sp, #pw_src]
    ldr r12, [sp, #pw_x]
    ldr r1, [sp, #pw_quads]
    cbz r1, 12f
11: ldr r4, [r0], #4
    sxtb16 r2, r4
    sxtb16 r3, r4, ror #8
    stmia r12!, {r2, r3}
    subs r1, #1
    bne 11b
12: ldr r1, [sp, #pw_rest]
    cmp r1, #1
    blo 15f
    beq 14f
    ldrsb r2, [r0], #1
    ldrsb r3, [r0], #1
    pkhbt r2, r2, r3, lsl #16
    str r2, [r12], #4
    cmp r1, #2
    beq 15f
14: ldrsb r2, [r0]
    str r2, [r12], #4
15:
.endm

@ Products of a pair of inputs with folded weights.
.macro pw_single x, w
    sxtb16 r10, \w
    smlad r0, \x, r10, r0
    smlad r1, \x, \w, r1
.endm

@ Products of two pairs of inputs with wide weights.
.macro pw_double x0, x1
    ldmia lr!, {r6-r9}
    smlad r0, \x0, r6, r0
    smlad r1, \x0, r7, r1
    smlad r0, \x1, r8, r0
    smlad r1, \x1, r9, r1
.endm

.macro pw_epilogue1 folded, form
.if \folded
    sub r1, r1, r0
    asr r1, r1, #8
.endif
.if \form == 0
    ldrd r11, r12, [lr], #8
    ldmia sp, {r8-r10}
    smmlar r0, r0, r11, r10
    smmlar r1, r1, r12, r10
.elseif \form == 1
    ldmia lr!, {r2-r5}
    ldmia sp, {r8-r10}
    and r3, r3, r0, asr #31
    and r5, r5, r1, asr #31
    add r2, r2, r3
    add r4, r4, r5
    smmlar r0, r0, r2, r10
    smmlar r1, r1, r4, r10
.else
    pw_general r0
    pw_general r1
    ldmia sp, {r8-r10}
    add r0, r0, r10
    add r1, r1, r10
.endif
    ssat r0, #8, r0
    ssat r1, #8, r1
    strb r0, [r8], #1
    strb r1, [r8], #1
    str r8, [sp, #pw_out]
.endm

.macro pw1 name, folded, form
    pw_enter \name
    @ Pairs of inputs in fours, and how many are left.
    ldrd r0, r1, [sp, #pw_x]
    sub r1, r1, r0
    lsr r2, r1, #4
    str r2, [sp, #pw_blocks]
    ubfx r2, r1, #2, #2
    str r2, [sp, #pw_odd]
2:  pw_widen1
    pw_tile 1
3:  ldrd r0, r1, [lr], #8
    ldr r12, [sp, #pw_x]
    ldr r11, [sp, #pw_blocks]
.if \folded
    add r1, r0, r1, lsl #8
.endif
    cmp r11, #0
    beq 5f
4:  ldmia r12!, {r2-r5}
.if \folded
    ldmia lr!, {r6-r9}
    pw_single r2, r6
    pw_single r3, r7
    pw_single r4, r8
    pw_single r5, r9
.else
    pw_double r2, r3
    pw_double r4, r5
.endif
    subs r11, #1
    bne 4b
5:  ldr r11, [sp, #pw_odd]
    cmp r11, #0
    beq 7f
6:  ldr r2, [r12], #4
.if \folded
    ldr r6, [lr], #4
    pw_single r2, r6
.else
    ldrd r6, r7, [lr], #8
    smlad r0, r2, r6, r0
    smlad r1, r2, r7, r1
.endif
    subs r11, #1
    bne 6b
7:  pw_epilogue1 \folded, \form
    ldr r9, [sp, #pw_words_end]
    cmp lr, r9
    bne.w 3b
    ldr r8, [sp, #pw_tiles]
    subs r8, #1
    str r8, [sp, #pw_tiles]
    bne.w 2b
    pw_leave \name
.endm

    pw4 secateur_pw4_wide_linear, 0, 0
    pw4 secateur_pw4_wide_slopes, 0, 1
    pw4 secateur_pw4_wide_general, 0, 2
    pw4 secateur_pw4_folded_linear, 1, 0
    pw4 secateur_pw4_folded_slopes, 1, 1
    pw4 secateur_pw4_folded_general, 1, 2
    pw1 secateur_pw1_wide_linear, 0, 0
    pw1 secateur_pw1_wide_slopes, 0, 1
    pw1 secateur_pw1_wide_general, 0, 2
    pw1 secateur_pw1_folded_linear, 1, 0
    pw1 secateur_pw1_folded_slopes, 1, 1
    pw1 secateur_pw1_folded_general, 1, 2

@ secateur_widen4(tile, source, stride, count): widens four runs of `count` bytes, `stride` apart; returns the tile's end.
    .section .text.secateur_widen4, "ax", %progbits
    .global secateur_widen4
    .type secateur_widen4, %function
    .thumb_func
secateur_widen4:
    push {r4-r11, lr}
    mov r12, r0
    mov r0, r1
    mov r4, r2
    lsr lr, r3, #2
    and r3, r3, #3
    push {r2, r3}
    add r1, r0, r4
    add r2, r1, r4
    add r3, r2, r4
    pw_widen 4
    mov r0, r12
    add sp, #8
    pop {r4-r11, pc}
    .size secateur_widen4, . - secateur_widen4
    .text
