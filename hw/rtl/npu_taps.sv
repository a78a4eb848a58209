// Taps of the current kernel row: eight windows, lane masks and the selection of operands.
//
// Stages after the bank's data: windows (1), columns (2), rotated (3), own or broadcast (4),
// masked operands (5).

module npu_taps (
    input  logic                                                 clk,
    input  logic                                                 rst,
    input  npu_pkg::exec_t commands[2],
    input  npu_core_pkg::step_t                                  step,
    input  logic                [npu_pkg::LaneBits-1:0]          offset,
    input  logic                [8*npu_pkg::Lanes-1:0] data[npu_pkg::Rows],
    // Two stages ahead of the operands, for the weight memory.
    output npu_core_pkg::tap_t                                   weight_tap,
    output npu_core_pkg::tap_t                                   operand_tap,
    output logic                [8*npu_pkg::Lanes-1:0] operand[npu_pkg::Rows]
);

  localparam int unsigned Rows = npu_pkg::Rows;
  localparam int unsigned RowBits = npu_pkg::RowBits;
  localparam int unsigned Lanes = npu_pkg::Lanes;
  localparam int unsigned LaneBits = npu_pkg::LaneBits;

  // Stage 0: the row being fetched waits one period for its taps.
  logic [LaneBits-1:0] held_offset_q;
  npu_core_pkg::coordinate_t held_row_q, held_column_q;
  logic [RowBits-1:0] held_bank_q;
  logic held_all_q;

  // Stage 1: the row whose taps are selected.
  npu_core_pkg::tap_t [5:1] tap_q;
  npu_core_pkg::coordinate_t row_q, column_q, tap_column_q;
  logic [LaneBits+1:0] position_q;
  logic [2:1][RowBits-1:0] bank_q;
  logic [3:1] all_q;

  logic [4:0] dilation;
  assign dilation = {1'b0, commands[step.tap_side].dilation[3:0]};

  always_ff @(posedge clk) begin
    if (step.valid && step.fetch && step.word == '0) begin
      held_offset_q <= offset;
      held_row_q <= step.row;
      held_column_q <= step.column;
      held_bank_q <= step.channel[RowBits-1:0];
      held_all_q <= commands[step.fetch_side].mode != npu_pkg::ModeDense;
    end
    if (step.valid && step.start) begin
      row_q <= held_row_q;
      column_q <= held_column_q;
      tap_column_q <= held_column_q;
      bank_q[1] <= held_bank_q;
      all_q[1] <= held_all_q;
    end else if (step.valid) begin
      tap_column_q <= tap_column_q + 13'(dilation);
    end

    tap_q[1].valid <= step.valid && step.tap;
    tap_q[1].side <= step.tap_side;
    tap_q[1].fresh <= step.fresh;
    tap_q[1].first <= step.first;
    tap_q[1].last <= step.last;
    tap_q[1].halves <= step.halves;
    tap_q[1].group_last <= step.group_last;
    tap_q[5:2] <= tap_q[4:1];
    bank_q[2] <= bank_q[1];
    all_q[3:2] <= all_q[2:1];
    if (rst) tap_q <= '0;
  end

  // Where the next tap begins: with stride 2 in the string of its parity, of which the words of a pair
  // hold a half each, and the odd string's halves have changed places. Columns of a string from its
  // first on belong to the first word (or pair), those before it to the next.
  logic [LaneBits+1:0] position;
  logic twice, swapped;
  logic [LaneBits-1:0] first, place1_q, place2_q, other_half;
  logic [2*Lanes-1:0] sources, sources_q;
  assign position = step.start ? (LaneBits + 2)'(held_offset_q)
      : position_q + (LaneBits + 2)'(dilation);
  assign twice = commands[step.tap_side].stride[1];
  assign swapped = twice && position[0];
  assign other_half = {swapped, (LaneBits - 1)'(0)};
  assign first = twice ? position[LaneBits:1] : position[LaneBits-1:0];
  always_comb begin
    for (int unsigned b = 0; b < Lanes; b++) begin
      logic [LaneBits-1:0] column;
      column = LaneBits'(b) ^ other_half;
      if (twice) sources[2*b+:2] = {position[LaneBits+1] || column < first, column[LaneBits-1]};
      else sources[2*b+:2] = position[LaneBits+1:LaneBits] + 2'(column < first);
    end
  end
  always_ff @(posedge clk) begin
    if (step.valid) begin
      position_q <= position;
      place1_q   <= first ^ other_half;
      sources_q  <= sources;
    end
    place2_q <= place1_q;
  end

  function automatic logic [Rows-1:0] banks(input logic enable, input logic all,
                                            input logic [RowBits-1:0] bank);
    logic [Rows-1:0] one;
    one = '0;
    one[bank] = 1'b1;
    return enable ? (all ? '1 : one) : '0;
  endfunction

  logic [Rows-1:0] load, move, pick, turn;
  logic split;
  assign load = banks(step.valid && step.fetch, commands[step.fetch_side].mode != npu_pkg::ModeDense,
                      step.channel[RowBits-1:0]);
  assign move = banks(step.valid && step.start, held_all_q, held_bank_q);
  assign pick = banks(tap_q[1].valid, all_q[1], bank_q[1]);
  assign turn = banks(tap_q[2].valid, all_q[2], bank_q[2]);
  assign split = commands[step.fetch_side].stride[1];

  logic [8*Lanes-1:0] turned[Rows];
  for (genvar r = 0; r < Rows; r++) begin : gen_window
    npu_window u_window (
        .clk,
        .rst,
        .load(load[r]),
        .load_word(step.word),
        .load_split(split),
        .data(data[r]),
        .move(move[r]),
        .pick(pick[r]),
        .sources(sources_q),
        .turn(turn[r]),
        .clear(tap_q[2].valid),
        .place(place2_q),
        .operand(turned[r])
    );
  end

  logic [Lanes-1:0] outside;
  npu_mask u_mask (
      .clk,
      .commands,
      .select(tap_q[1].side),
      .row(row_q),
      .column(column_q),
      .tap_column(tap_column_q),
      .outside
  );

  // Four sources of an operand, of which all but one are zero: the bank's own bytes, the same with
  // every byte twice (upsampling), another bank's bytes for all rows, and the border. What lies
  // outside takes no part in a maximum, as the least value.
  logic upsample, dense;
  logic [7:0] border;
  logic [8*Lanes-1:0] any, shared_q, border_q;
  assign upsample = commands[tap_q[3].side].flags[npu_pkg::ExecFlagUpsample];
  assign dense = !all_q[3];
  assign border = commands[tap_q[3].side].mode == npu_pkg::ModeMaximum ? 8'h80
      : commands[tap_q[3].side].z_in;
  always_comb begin
    any = '0;
    for (int unsigned r = 0; r < Rows; r++) any |= turned[r];
  end
  for (genvar l = 0; l < Lanes; l++) begin : gen_shared
    always_ff @(posedge clk) begin
      if (tap_q[3].valid) begin
        if (outside[l] || !dense) shared_q[8*l+:8] <= '0;
        else shared_q[8*l+:8] <= upsample ? any[8*(l/2)+:8] : any[8*l+:8];
        border_q[8*l+:8] <= outside[l] ? border : '0;
      end
    end
  end
  for (genvar r = 0; r < Rows; r++) begin : gen_operand
    logic [8*Lanes-1:0] own_q, twin_q;
    for (genvar l = 0; l < Lanes; l++) begin : gen_lane
      always_ff @(posedge clk) begin
        if (tap_q[3].valid) begin
          if (outside[l] || dense || upsample) own_q[8*l+:8] <= '0;
          else own_q[8*l+:8] <= turned[r][8*l+:8];
          if (outside[l] || dense || !upsample) twin_q[8*l+:8] <= '0;
          else twin_q[8*l+:8] <= turned[r][8*(l/2)+:8];
        end
      end
    end
    always_ff @(posedge clk) if (tap_q[4].valid) operand[r] <= own_q | twin_q | shared_q | border_q;
  end

  assign weight_tap = tap_q[3];
  assign operand_tap = tap_q[5];

endmodule
