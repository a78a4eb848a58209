// Taps of the current kernel row: eight windows, lane masks and the selection of operands.
//
// Stages after the registered bank data: windows (1), columns (2), rotated (3), own or broadcast (4),
// masked operands (5).

module npu_taps (
    input  logic                                                 clk,
    input  logic                                                 rst,
    input  npu_pkg::exec_t commands[2],
    input  npu_core_pkg::shape_t                                 shapes[2],
    // Steps a stage ahead of the bank's data, and with them.
    input  npu_core_pkg::step_t                                  early_step,
    input  logic                [npu_pkg::LaneBits-1:0]          early_offset,
    input  npu_core_pkg::step_t                                  step,
    input  logic                [8*npu_pkg::Lanes-1:0] data[npu_pkg::Rows],
    // Five stages ahead of the operands, for the weight memory, and the next tap's side.
    output logic                                                 weight_side,
    output npu_core_pkg::tap_t                                   weight_tap,
    // With the operands, both.
    output npu_core_pkg::tap_t                                   array_tap,
    output logic                                                 operand_valid,
    output logic                [8*npu_pkg::Lanes-1:0] operand[npu_pkg::Rows]
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

  // The row being fetched waits one period for its taps.
  logic [RowBits-1:0] held_bank_q;
  logic held_all_q;

  // Stage 0: what windows take in, and the row whose taps are selected.
  npu_core_pkg::tap_t [5:0] tap_q;
  logic [8*Lanes-1:0] data_q[Rows];
  logic [Rows-1:0] load_q, move_q;
  logic [RowBits-1:0] bank_q;
  logic [2:0] all_q;

  // Stages 1 and 2: whose columns are taken.
  logic [Rows-1:0] pick_q, turn_q;

  logic all;
  assign all = !shapes[step.fetch_side].dense;

  always_ff @(posedge clk) begin
    if (step.valid && step.fetch && step.word == '0) begin
      held_bank_q <= step.channel[RowBits-1:0];
      held_all_q <= all;
    end
    if (step.valid && step.start) begin
      bank_q <= held_bank_q;
      all_q[0] <= held_all_q;
    end

    data_q <= data;
    load_q <= banks(!rst && step.valid && step.fetch, all, step.channel[RowBits-1:0]);
    move_q <= banks(!rst && step.valid && step.start, held_all_q, held_bank_q);

    tap_q[0].valid <= step.valid && step.tap;
    tap_q[0].side <= step.tap_side;
    tap_q[0].fresh <= step.fresh;
    tap_q[0].first <= step.first;
    tap_q[0].last <= step.last;
    tap_q[0].halves <= step.halves;
    tap_q[0].group_last <= step.group_last;
    tap_q[5:1] <= tap_q[4:0];
    operand_valid <= !rst && tap_q[4].valid;
    all_q[2:1] <= all_q[1:0];
    pick_q <= banks(tap_q[0].valid, all_q[0], bank_q);
    turn_q <= pick_q;
    if (rst) tap_q <= '0;
  end

  // With the bank's data already: where the next tap begins. With stride 2 in the string of its parity, of which the words of a pair
  // hold a half each, and the odd string's halves have changed places. Columns of a string from its
  // first on belong to the first word (or pair), those before it to the next.
  logic twice_q, swapped;
  logic [LaneBits-1:0] held_offset_q, first, place0_q, place1_q, other_half;
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
  always_ff @(posedge clk) begin
    if (early_step.valid && early_step.fetch && early_step.word == '0) held_offset_q <= early_offset;
    if (early_step.valid && early_step.start) begin
      position_q <= (LaneBits + 2)'(held_offset_q);
    end else if (early_step.valid) begin
      position_q <= position_q + (LaneBits + 2)'(commands[early_step.tap_side].dilation[3:0]);
    end
    twice_q   <= commands[early_step.tap_side].stride[1];
    sources_q <= sources;
    place0_q  <= first ^ other_half;
    place1_q  <= place0_q;
  end

  logic [8*Lanes-1:0] turned[Rows];
  for (genvar r = 0; r < Rows; r++) begin : gen_window
    npu_window u_window (
        .clk,
        .rst,
        .next_word(step.word),
        .next_split(commands[step.fetch_side].stride[1]),
        .load(load_q[r]),
        .data(data_q[r]),
        .move(move_q[r]),
        .sources(sources_q),
        .place(place1_q),
        .turn(turn_q[r]),
        .operand(turned[r])
    );
  end

  logic [Lanes-1:0] outside;
  npu_mask u_mask (
      .clk,
      .commands,
      .step(early_step),
      .outside
  );

  // Four sources of an operand, of which all but one are zero: the bank's own bytes, the same with
  // every byte twice (upsampling), another bank's bytes for all rows, and the border. What lies
  // outside takes no part in a maximum, as the least value. Which it is is known a stage ahead, for each
  // lane, since it clears the registers of all rows.
  logic upsample2_q, upsample3_q;
  logic [7:0] border_code3_q;
  logic [Lanes-1:0] outside3_q, not_own_q, not_twin_q, not_shared_q;
  logic [8*Lanes-1:0] any, shared_q, border_q;
  always_ff @(posedge clk) begin
    outside3_q <= outside;
    not_shared_q <= outside | {Lanes{all_q[2]}};
    not_own_q <= outside | {Lanes{!all_q[2] || upsample2_q}};
    not_twin_q <= outside | {Lanes{!all_q[2] || !upsample2_q}};
    upsample2_q <= commands[tap_q[1].side].flags[npu_pkg::ExecFlagUpsample];
    upsample3_q <= upsample2_q;
    border_code3_q <= commands[tap_q[2].side].mode == npu_pkg::ModeMaximum ? 8'h80
        : commands[tap_q[2].side].z_in;
  end
  always_comb begin
    any = '0;
    for (int unsigned r = 0; r < Rows; r++) any |= turned[r];
  end
  for (genvar l = 0; l < Lanes; l++) begin : gen_shared
    always_ff @(posedge clk) begin
      shared_q[8*l+:8] <= upsample3_q ? any[8*(l/2)+:8] : any[8*l+:8];
      if (not_shared_q[l]) shared_q[8*l+:8] <= '0;
      border_q[8*l+:8] <= outside3_q[l] ? border_code3_q : '0;
    end
  end
  for (genvar r = 0; r < Rows; r++) begin : gen_operand
    logic [8*Lanes-1:0] own_q, twin_q;
    for (genvar l = 0; l < Lanes; l++) begin : gen_lane
      always_ff @(posedge clk) begin
        own_q[8*l+:8]  <= turned[r][8*l+:8];
        twin_q[8*l+:8] <= turned[r][8*(l/2)+:8];
        if (not_own_q[l]) own_q[8*l+:8] <= '0;
        if (not_twin_q[l]) twin_q[8*l+:8] <= '0;
      end
    end
    always_ff @(posedge clk) operand[r] <= own_q | twin_q | shared_q | border_q;
  end

  assign weight_side = step.tap_side;
  assign weight_tap = tap_q[0];
  assign array_tap = tap_q[5];

endmodule
