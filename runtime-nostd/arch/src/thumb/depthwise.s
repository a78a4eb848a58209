@ Depthwise convolution of four channels over rows of 16-bit values. See depthwise.rs for who calls, and for the words.
@
@ A row of the scratch has four lines, one a channel, of 62 values each: the strip of the image under the window,
@ zero points where the window reaches outside.

    .syntax unified
    .cpu cortex-m4
    .thumb

    .equ dw_line, 124
    .equ dw_row, 496

@ secateur_dw_fill(call): widens rows of four channels into lines.
    .equ df_dst, 0
    .equ df_src, 4
    .equ df_pitch, 8
    .equ df_src_row, 12
    .equ df_rows, 16
    .equ df_left, 20
    .equ df_pairs, 24
    .equ df_odd, 28
    .equ df_zeros, 32
    .equ df_right, 36

.macro df_store
    str r6, [r2, #dw_line]
    str r7, [r2, #2 * dw_line]
    str r8, [r2, #3 * dw_line]
    str r5, [r2], #4
.endm

    .section .text.secateur_dw_fill, "ax", %progbits
    .global secateur_dw_fill
    .type secateur_dw_fill, %function
    .thumb_func
secateur_dw_fill:
    push {r4-r12, lr}
    mov r11, r0
    ldr r10, [r11, #df_zeros]
    ldr r12, [r11, #df_rows]
    ldr r1, [r11, #df_pitch]
    ldrd r2, r0, [r11]
    sub sp, #8
1:  strd r2, r0, [sp]
    ldr r4, [r11, #df_left]
    cmp r4, #1
    blo 3f
    beq 2f
    mov r5, r10
    mov r6, r10
    mov r7, r10
    mov r8, r10
    df_store
    b 3f
2:  ldr r4, [r0]
    add r0, r0, r1
    sxtb16 r9, r4
    sxtb16 r4, r4, ror #8
    pkhbt r5, r10, r9, lsl #16
    pkhbt r6, r10, r4, lsl #16
    pkhtb r7, r9, r10, asr #16
    pkhtb r8, r4, r10, asr #16
    df_store
3:  ldr lr, [r11, #df_pairs]
    cmp lr, #0
    beq 5f
4:  ldr r4, [r0]
    ldr r3, [r0, r1]
    add r0, r0, r1, lsl #1
    sxtb16 r9, r4
    sxtb16 r4, r4, ror #8
    sxtb16 r7, r3
    sxtb16 r8, r3, ror #8
    pkhbt r5, r9, r7, lsl #16
    pkhbt r6, r4, r8, lsl #16
    pkhtb r7, r7, r9, asr #16
    pkhtb r8, r8, r4, asr #16
    df_store
    subs lr, #1
    bne 4b
5:  ldr r4, [r11, #df_odd]
    cmp r4, #0
    beq 6f
    ldr r4, [r0]
    sxtb16 r9, r4
    sxtb16 r4, r4, ror #8
    pkhbt r5, r9, r10, lsl #16
    pkhbt r6, r4, r10, lsl #16
    pkhtb r7, r10, r9, asr #16
    pkhtb r8, r10, r4, asr #16
    df_store
6:  ldr lr, [r11, #df_right]
    cmp lr, #0
    beq 8f
    mov r5, r10
    mov r6, r10
    mov r7, r10
    mov r8, r10
7:  df_store
    subs lr, #1
    bne 7b
8:  ldrd r2, r0, [sp]
    ldr r4, [r11, #df_src_row]
    add r2, r2, #dw_row
    add r0, r0, r4
    subs r12, #1
    bne 1b
    add sp, #8
    pop {r4-r12, pc}
    .size secateur_dw_fill, . - secateur_dw_fill

@ The frame of the kernels: what they keep, then `Call` of depthwise.rs, whose last fields they count down.
    .equ dk_m, 0
    .equ dk_more, 4
    .equ dk_tail, 8
    .equ dk_bias, 12
    .equ dk_end, 16
    .equ dk_row, 20
    .equ dk_row_out, 24
    .equ dk_rows_left, 28
    .equ dk_zero, 32
    .equ dk_words, 36
    .equ dk_plane, 40
    .equ dk_out, 44
    .equ dk_pitch, 48
    .equ dk_out_row, 52
    .equ dk_rows, 56
    .equ dk_span, 60
    .equ dk_rest, 64
    .equ dk_channels, 68
    .equ dk_step_out, 72
    .equ dk_step_pitch, 76
    .equ dk_codes, 80
    .equ dk_tail_out, 84
    .equ dk_in_tail, 88
    .equ dk_weights, 96
    .equ dk_size, 176

@ The function's beginning.
.macro dk_enter name
    .section .text.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
    .p2align 2
\name:
    push {r4-r11, lr}
    sub sp, #dk_size
    add r12, sp, #dk_zero
    ldmia r0!, {r1-r10}
    stmia r12!, {r1-r10}
.endm

.macro dk_leave name
    add sp, #dk_size
    pop {r4-r11, pc}
    .size \name, . - \name
.endm

@ Reads bias and parameters of the channel whose weights end at lr; uses r6-r9.
.macro dk_parameters form
.if \form == 0
    ldmia lr!, {r6, r7}
    ldr r8, [sp, #dk_zero]
    strd r7, r8, [sp, #dk_m]
.elseif \form == 1
    ldmia lr!, {r6-r8}
    strd r7, r8, [sp, #dk_m]
.else
    ldmia lr!, {r6-r9}
    strd r7, r8, [sp, #dk_m]
    str r9, [sp, #dk_tail]
.endif
    str r6, [sp, #dk_bias]
    str lr, [sp, #dk_words]
    ldr r6, [sp, #dk_plane]
    ldr r7, [sp, #dk_out]
    add r8, r6, #dw_line
    add r9, r7, #1
    str r6, [sp, #dk_row]
    str r7, [sp, #dk_row_out]
    str r8, [sp, #dk_plane]
    str r9, [sp, #dk_out]
    ldr r6, [sp, #dk_rows]
    str r6, [sp, #dk_rows_left]
.endm

@ Sums become codes. r6, r7 and, but for form 0, lr are free.
.macro dk_requantise form, accs:vararg
.if \form == 0
    ldrd r6, r7, [sp, #dk_m]
    .irp acc, \accs
    smmlar \acc, \acc, r6, r7
    .endr
.elseif \form == 1
    .irp acc, \accs
    ldrd r6, r7, [sp, #dk_m]
    and r7, r7, \acc, asr #31
    add r7, r7, r6
    ldr r6, [sp, #dk_zero]
    smmlar \acc, \acc, r7, r6
    .endr
.else
    .irp acc, \accs
    ldrd r6, r7, [sp, #dk_m]
    and r7, r7, \acc, asr #31
    add r7, r7, r6
    ldr r6, [sp, #dk_tail]
    mov lr, #1
    lsl lr, lr, r6
    lsr lr, lr, #1
    smmla \acc, \acc, r7, lr
    asr \acc, \acc, r6
    ldr r6, [sp, #dk_zero]
    add \acc, \acc, r6
    .endr
.endif
    .irp acc, \accs
    ssat \acc, #8, \acc
    .endr
.endm

@ Two slopes for two sums, with lr free.
.macro dk_slopes2
    ldrd r6, r7, [sp, #dk_m]
    and lr, r7, r8, asr #31
    and r7, r7, r9, asr #31
    add lr, lr, r6
    add r7, r7, r6
    ldr r6, [sp, #dk_zero]
    smmlar r8, r8, lr, r6
    smmlar r9, r9, r7, r6
    ssat r8, #8, r8
    ssat r9, #8, r9
.endm

@ A row of the window for two outputs, weights \a and \b.
.macro d3_row2 stride, a, b, first
.if \stride == 1
    .if \first
    smlatb r9, r6, \a, r8
    .else
    smlatb r9, r6, \a, r9
    .endif
    smlad r8, r6, \a, r8
    smlad r9, r7, \b, r9
    smlabt r8, r7, \b, r8
.else
    .if \first
    smlad r9, r7, \a, r8
    .else
    smlad r9, r7, \a, r9
    .endif
    smlad r8, r6, \a, r8
    smlabt r8, r7, \b, r8
.endif
.endm

.macro d3_row1 a, b
    smlad r8, r6, \a, r8
    smlabt r8, r7, \b, r8
.endm

@ Two outputs of a row; unless it is the last of a round, lr is lost where there are two slopes.
.macro d3_step stride, form, last
    ldrd r6, r7, [r10], #4 * \stride
    ldr r8, [sp, #dk_bias]
    d3_row2 \stride, r0, r1, 1
.if \stride == 2
    ldr r6, [r10]
    smlabt r9, r6, r1, r9
.endif
    ldrd r6, r7, [r10, #dw_row - 4 * \stride]
    d3_row2 \stride, r2, r3, 0
.if \stride == 2
    ldr r6, [r10, #dw_row]
    smlabt r9, r6, r3, r9
.endif
    ldrd r6, r7, [r10, #2 * dw_row - 4 * \stride]
    d3_row2 \stride, r4, r5, 0
.if \stride == 2
    ldr r6, [r10, #2 * dw_row]
    smlabt r9, r6, r5, r9
.endif
.if \form == 1
    dk_slopes2
.else
    dk_requantise \form, r8, r9
.endif
.if \form && \last
    ldr lr, [sp, #dk_end]
.endif
    strb r8, [r11]
    strb r9, [r11, r12]
    add r11, r11, r12, lsl #1
.endm

@ The next row of outputs, the next channel, the function's end.
.macro dk_loop_back name
    ldr r6, [sp, #dk_rows_left]
    subs r6, #1
    str r6, [sp, #dk_rows_left]
    bne.w 2b
    ldr r6, [sp, #dk_channels]
    subs r6, #1
    str r6, [sp, #dk_channels]
    bne.w 1b
    dk_leave \name
.endm

@ d3_*: 3 x 3. Registers: r0-r5 weights, r6, r7 four values of a row, r8, r9 sums, r10 next values, r11 output,
@ r12 bytes to the next output, lr end of the row.
.macro d3 name, stride, form
    dk_enter \name
1:  ldr lr, [sp, #dk_words]
    ldmia lr!, {r6-r8}
    sxtb16 r0, r6
    sxtb16 r1, r6, ror #8
    sxtb16 r2, r7
    sxtb16 r3, r7, ror #8
    sxtb16 r4, r8
    sxtb16 r5, r8, ror #8
    dk_parameters \form
2:  ldr r10, [sp, #dk_row]
    ldr r11, [sp, #dk_row_out]
    ldr r12, [sp, #dk_pitch]
    ldr lr, [sp, #dk_span]
    ldr r7, [sp, #dk_out_row]
    add r6, r10, #\stride * dw_row
    add r7, r7, r11
    str r6, [sp, #dk_row]
    str r7, [sp, #dk_row_out]
    cmp lr, #0
    beq.w 4f
    @ Two steps a round; an odd number of steps enters with the second.
    tst lr, #4 * \stride
    add lr, lr, r10
.if \form
    str lr, [sp, #dk_end]
.endif
    bne 6f
3:  d3_step \stride, \form, 0
6:  d3_step \stride, \form, 1
    cmp r10, lr
    bne.w 3b
4:  ldr r6, [sp, #dk_rest]
    cmp r6, #0
    beq 5f
    ldrd r6, r7, [r10]
    ldr r8, [sp, #dk_bias]
    d3_row1 r0, r1
    ldrd r6, r7, [r10, #dw_row]
    d3_row1 r2, r3
    ldrd r6, r7, [r10, #2 * dw_row]
    d3_row1 r4, r5
    dk_requantise \form, r8
    strb r8, [r11]
5:  dk_loop_back \name
.endm

@ d5_*: 5 x 5, stride 1, four outputs a step. Registers: r0-r3 eight values of a row, r4-r7 its weights, r8-r11 sums,
@ r12 next values, in the window's middle row, lr next weights.
.macro d5_row offset, first
    ldrd r0, r1, [r12, #\offset]
    ldrd r2, r3, [r12, #\offset + 8]
    ldmia lr!, {r4-r7}
.if \first
    smlatb r9, r0, r4, r8
    smlad r10, r1, r4, r8
    smlatb r11, r1, r4, r8
.else
    smlatb r9, r0, r4, r9
    smlad r10, r1, r4, r10
    smlatb r11, r1, r4, r11
.endif
    smlad r8, r0, r4, r8
    smlad r9, r1, r6, r9
    smlad r10, r2, r5, r10
    smlad r11, r2, r6, r11
    smlad r8, r1, r5, r8
    smlad r9, r2, r7, r9
    smlabt r10, r3, r7, r10
    smlad r11, r3, r7, r11
    smlabt r8, r2, r7, r8
.endm

@ Two slopes for four sums.
.macro d5_slopes
    ldrd r0, r1, [sp, #dk_m]
    ldr r2, [sp, #dk_zero]
    .irp acc, r8, r9, r10, r11
    and r3, r1, \acc, asr #31
    add r3, r3, r0
    smmlar \acc, \acc, r3, r2
    ssat \acc, #8, \acc
    .endr
.endm

.macro d5 name, form
    dk_enter \name
1:  ldr lr, [sp, #dk_words]
    add r12, sp, #dk_weights
.rept 5
    ldrd r0, r1, [lr], #8
    sxtb16 r2, r0
    sxtb16 r3, r0, ror #8
    sxtb16 r4, r1
    sxtb16 r5, r1, ror #8
    stmia r12!, {r2-r5}
.endr
    dk_parameters \form
2:  ldr r12, [sp, #dk_row]
    ldr r1, [sp, #dk_row_out]
    ldr r2, [sp, #dk_pitch]
    ldr r3, [sp, #dk_span]
    ldr r5, [sp, #dk_out_row]
    add r4, r12, #dw_row
    str r1, [sp, #dk_step_out]
    add r5, r5, r1
    str r2, [sp, #dk_step_pitch]
    str r4, [sp, #dk_row]
    str r5, [sp, #dk_row_out]
    mov r0, #0
    str r0, [sp, #dk_in_tail]
    add r12, r12, #2 * dw_row
    add r1, r12, r3
    str r1, [sp, #dk_end]
    cmp r3, #0
    beq.w 4f
3:  add lr, sp, #dk_weights
    ldr r8, [sp, #dk_bias]
    d5_row -2 * dw_row, 1
    d5_row -dw_row, 0
    d5_row 0, 0
    d5_row dw_row, 0
    d5_row 2 * dw_row, 0
    add r12, r12, #8
.if \form == 1
    d5_slopes
.else
    dk_requantise \form, r8, r9, r10, r11
.endif
    ldrd r0, r1, [sp, #dk_step_out]
    ldr r2, [sp, #dk_end]
    strb r8, [r0]
    strb r9, [r0, r1]
    add r0, r0, r1, lsl #1
    strb r10, [r0]
    strb r11, [r0, r1]
    add r0, r0, r1, lsl #1
    str r0, [sp, #dk_step_out]
    cmp r12, r2
    bne.w 3b
    ldr r0, [sp, #dk_in_tail]
    cmp r0, #0
    bne 5f
4:  ldr r0, [sp, #dk_rest]
    cmp r0, #0
    beq 7f
    @ The row's last one to three: four codes into the frame, of which these are copied.
    str r0, [sp, #dk_in_tail]
    ldr r1, [sp, #dk_step_out]
    str r1, [sp, #dk_tail_out]
    add r1, sp, #dk_codes
    mov r2, #1
    add r3, r12, #8
    strd r1, r2, [sp, #dk_step_out]
    str r3, [sp, #dk_end]
    b.w 3b
5:  ldr r1, [sp, #dk_tail_out]
    ldr r2, [sp, #dk_pitch]
    add r3, sp, #dk_codes
6:  ldrb r4, [r3], #1
    strb r4, [r1]
    add r1, r1, r2
    subs r0, #1
    bne 6b
7:  dk_loop_back \name
.endm

    d3 secateur_d3s1_linear, 1, 0
    d3 secateur_d3s1_slopes, 1, 1
    d3 secateur_d3s1_general, 1, 2
    d3 secateur_d3s2_linear, 2, 0
    d3 secateur_d3s2_slopes, 2, 1
    d3 secateur_d3s2_general, 2, 2
    d5 secateur_d5s1_linear, 0
    d5 secateur_d5s1_slopes, 1
    d5 secateur_d5s1_general, 2
    .text
