// Tap multiplexer: window buffers, lane masks and operand selection for the taps of the current
// kernel row.
//
// Stages after the registered bank data: 1 window buffers, 2 columns, 3 rotated, 4 own or
// broadcast, 5 masked operands. Each bank has a window buffer; dense layers broadcast one bank to
// all array rows, the other modes feed each row from its own bank.

module npu_tap_mux (
  input  logic                                         clk_i,
  input  logic                                         rst_ni,
  input  npu_pkg::exec_t                               commands_i     [            2],
  input  npu_core_pkg::shape_t                         shapes_i       [            2],
  // Step one stage ahead of the bank's data, and with the data.
  input  npu_core_pkg::step_t                          early_step_i,
  input  logic                 [npu_pkg::LaneBits-1:0] early_offset_i,
  input  npu_core_pkg::step_t                          step_i,
  input  logic                 [ 8*npu_pkg::Lanes-1:0] data_i         [npu_pkg::Rows],
  // Five stages ahead of the operands, for the weight memory; and the context of the next tap.
  output logic                                         weight_ctx_o,
  output npu_core_pkg::tap_t                           weight_tap_o,
  // Both are aligned with the operands.
  output npu_core_pkg::tap_t                           array_tap_o,
  output logic                                         operand_valid_o,
  output logic                 [ 8*npu_pkg::Lanes-1:0] operand_o      [npu_pkg::Rows]
);

  localparam int unsigned Rows = npu_pkg::Rows;
  localparam int unsigned RowBits = npu_pkg::RowBits;
  localparam int unsigned Lanes = npu_pkg::Lanes;
  localparam int unsigned LaneBits = npu_pkg::LaneBits;

  function automatic logic [Rows-1:0] banks(input logic enable, input logic all,
                                            input logic [RowBits-1:0] bank);
    logic [Rows-1:0] one;
    one = '0;
    one[bank] = 1'b1;
    return enable ? (all ? '1 : one) : '0;
  endfunction

  // A fetched row waits one row slot for its taps.
  logic [RowBits-1:0] held_bank_q;
  logic held_all_q;

  // Stage 0: what the window buffers take in, and the row whose taps are selected.
  npu_core_pkg::tap_t [5:0] tap_q;
  logic [8*Lanes-1:0] data_q[Rows];
  logic [Rows-1:0] load_q, move_q;
  logic [RowBits-1:0] bank_q;
  logic [2:0] all_q;

  // Stages 1 and 2: the bank whose columns are taken.
  logic [Rows-1:0] pick_q, select_q;

  logic all;
  assign all = !shapes_i[step_i.fetch_ctx].dense;

  always_ff @(posedge clk_i) begin
    if (step_i.valid && step_i.fetch && step_i.word == '0) begin
      held_bank_q <= step_i.channel[RowBits-1:0];
      held_all_q <= all;
    end
    if (step_i.valid && step_i.start) begin
      bank_q <= held_bank_q;
      all_q[0] <= held_all_q;
    end

    data_q <= data_i;
    load_q <= banks(rst_ni && step_i.valid && step_i.fetch, all, step_i.channel[RowBits-1:0]);
    move_q <= banks(rst_ni && step_i.valid && step_i.start, held_all_q, held_bank_q);

    tap_q[0].valid <= step_i.valid && step_i.tap;
    tap_q[0].ctx <= step_i.tap_ctx;
    tap_q[0].fresh <= step_i.fresh;
    tap_q[0].first <= step_i.first;
    tap_q[0].last <= step_i.last;
    tap_q[0].halves <= step_i.halves;
    tap_q[0].group_last <= step_i.group_last;
    tap_q[5:1] <= tap_q[4:0];
    operand_valid_o <= rst_ni && tap_q[4].valid;
    all_q[2:1] <= all_q[1:0];
    pick_q <= banks(tap_q[0].valid, all_q[0], bank_q);
    select_q <= pick_q;
    if (!rst_ni) tap_q <= '0;
  end

  // Aligned with the bank's data: the start of the next tap. With stride 2 it counts in the even or
  // odd pixels, of which each of a pair of vectors holds one half; the halves of the odd pixels are
  // swapped. Columns from the start on belong to the first vector (or pair), columns before it to
  // the next one.
  logic twice_q, swapped;
  logic [LaneBits-1:0] held_offset_q, first, rotate0_q, rotate1_q, other_half;
  logic [LaneBits+1:0] position_q;
  logic [2*Lanes-1:0] sources, sources_q;
  assign swapped = twice_q && position_q[0];
  assign other_half = {swapped, (LaneBits - 1)'(0)};
  assign first = twice_q ? position_q[LaneBits:1] : position_q[LaneBits-1:0];
  always_comb begin
    for (int unsigned b = 0; b < Lanes; b++) begin
      logic [LaneBits-1:0] column;
      column = LaneBits'(b) ^ other_half;
      if (twice_q) sources[2*b+:2] = {position_q[LaneBits+1] || column < first, column[LaneBits-1]};
      else sources[2*b+:2] = position_q[LaneBits+1:LaneBits] + 2'(column < first);
    end
  end
  always_ff @(posedge clk_i) begin
    if (early_step_i.valid && early_step_i.fetch && early_step_i.word == '0)
      held_offset_q <= early_offset_i;
    if (early_step_i.valid && early_step_i.start) begin
      position_q <= (LaneBits + 2)'(held_offset_q);
    end else if (early_step_i.valid) begin
      position_q <= position_q + (LaneBits + 2)'(commands_i[early_step_i.tap_ctx].dilation[3:0]);
    end
    twice_q <= commands_i[early_step_i.tap_ctx].stride[1];
    sources_q <= sources;
    rotate0_q <= first ^ other_half;
    rotate1_q <= rotate0_q;
  end

  logic [8*Lanes-1:0] window_operand[Rows];
  for (genvar r = 0; r < Rows; r++) begin : gen_window
    npu_window u_window (
      .clk_i,
      .rst_ni,
      .next_word_i (step_i.word),
      .next_split_i(commands_i[step_i.fetch_ctx].stride[1]),
      .load_i      (load_q[r]),
      .data_i      (data_q[r]),
      .move_i      (move_q[r]),
      .sources_i   (sources_q),
      .rotate_i    (rotate1_q),
      .select_i    (select_q[r]),
      .operand_o   (window_operand[r])
    );
  end

  logic [Lanes-1:0] outside;
  npu_mask u_mask (
    .clk_i,
    .commands_i,
    .step_i   (early_step_i),
    .outside_o(outside)
  );

  // An operand is the OR of four sources, all but one of which are zero: the bank's own bytes, the
  // same with every byte doubled (upsampling), another bank's bytes for all rows, and the border
  // value. In maximum mode the border is the least value and never wins. The source is selected one
  // stage ahead, for each lane, since the selection clears the registers of all rows.
  logic upsample2_q, upsample3_q;
  logic [7:0] border_code3_q;
  logic [Lanes-1:0] outside3_q, not_own_q, not_twin_q, not_shared_q;
  logic [8*Lanes-1:0] any, shared_q, border_q;
  always_ff @(posedge clk_i) begin
    outside3_q <= outside;
    not_shared_q <= outside | {Lanes{all_q[2]}};
    not_own_q <= outside | {Lanes{!all_q[2] || upsample2_q}};
    not_twin_q <= outside | {Lanes{!all_q[2] || !upsample2_q}};
    upsample2_q <= commands_i[tap_q[1].ctx].flags[npu_pkg::ExecFlagUpsample];
    upsample3_q <= upsample2_q;
    border_code3_q <= commands_i[tap_q[2].ctx].mode == npu_pkg::ModeMaximum ? 8'h80 :
        commands_i[tap_q[2].ctx].z_in;
  end
  always_comb begin
    any = '0;
    for (int unsigned r = 0; r < Rows; r++) any |= window_operand[r];
  end
  for (genvar l = 0; l < Lanes; l++) begin : gen_shared
    always_ff @(posedge clk_i) begin
      shared_q[8*l+:8] <= upsample3_q ? any[8*(l/2)+:8] : any[8*l+:8];
      if (not_shared_q[l]) shared_q[8*l+:8] <= '0;
      border_q[8*l+:8] <= outside3_q[l] ? border_code3_q : '0;
    end
  end
  for (genvar r = 0; r < Rows; r++) begin : gen_operand
    logic [8*Lanes-1:0] own_q, twin_q;
    for (genvar l = 0; l < Lanes; l++) begin : gen_lane
      always_ff @(posedge clk_i) begin
        own_q[8*l+:8] <= window_operand[r][8*l+:8];
        twin_q[8*l+:8] <= window_operand[r][8*(l/2)+:8];
        if (not_own_q[l]) own_q[8*l+:8] <= '0;
        if (not_twin_q[l]) twin_q[8*l+:8] <= '0;
      end
    end
    always_ff @(posedge clk_i) operand_o[r] <= own_q | twin_q | shared_q | border_q;
  end

  assign weight_ctx_o = step_i.tap_ctx;
  assign weight_tap_o = tap_q[0];
  assign array_tap_o = tap_q[5];

endmodule
