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
    input  logic                [127:0] data[npu_pkg::Rows],
    // Two stages ahead of the operands, for the weight memory.
    output npu_core_pkg::tap_t                                   weight_tap,
    output npu_core_pkg::tap_t                                   operand_tap,
    output logic                [127:0] operand[npu_pkg::Rows]
);

  localparam int unsigned Rows = npu_pkg::Rows;
  localparam int unsigned RowBits = npu_pkg::RowBits;

  // Stage 0: the row being fetched waits one period for its taps.
  logic [npu_pkg::LaneBits-1:0] held_offset_q;
  npu_core_pkg::coordinate_t held_row_q, held_column_q;
  logic [RowBits-1:0] held_bank_q;
  logic held_all_q;

  // Stage 1: the row whose taps are selected.
  npu_core_pkg::tap_t [5:1] tap_q;
  npu_core_pkg::coordinate_t row_q, column_q, tap_column_q;
  logic [5:0] position_q;
  logic [3:1][RowBits-1:0] bank_q;
  logic [4:1] all_q;

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
    tap_q[1].group_last <= step.group_last;
    tap_q[5:2] <= tap_q[4:1];
    bank_q[3:2] <= bank_q[2:1];
    all_q[4:2] <= all_q[3:1];
    if (rst) tap_q <= '0;
  end

  // Where the next tap begins: with stride 2 in the string of its parity, of which every second word
  // is. Columns from `place` on belong to the first word, those before it to the next.
  logic [5:0] position;
  logic twice;
  logic [1:0] word, next_word;
  logic [3:0] place, place1_q, place2_q;
  logic [31:0] sources_q;
  assign position = step.start ? 6'(held_offset_q) : position_q + 6'(dilation);
  assign twice = commands[step.tap_side].stride[1];
  assign word = twice ? {position[5], position[0]} : position[5:4];
  assign next_word = twice ? {1'b1, position[0]} : word + 2'd1;
  assign place = twice ? position[4:1] : position[3:0];
  always_ff @(posedge clk) begin
    if (step.valid) begin
      position_q <= position;
      place1_q   <= place;
      for (int unsigned b = 0; b < 16; b++) sources_q[2*b+:2] <= 4'(b) >= place ? word : next_word;
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

  logic [127:0] turned[Rows];
  for (genvar r = 0; r < Rows; r++) begin : gen_window
    npu_window u_window (
        .clk,
        .load(load[r]),
        .load_word(step.word),
        .load_split(split),
        .data(data[r]),
        .move(move[r]),
        .pick(pick[r]),
        .sources(sources_q),
        .turn(turn[r]),
        .place(place2_q),
        .operand(turned[r])
    );
  end

  logic [npu_pkg::Lanes-1:0] outside;
  npu_mask u_mask (
      .clk,
      .commands,
      .select(tap_q[1].side),
      .row(row_q),
      .column(column_q),
      .tap_column(tap_column_q),
      .outside
  );

  // Upsampling: every pixel twice.
  logic [127:0] spread[Rows];
  logic [127:0] broadcast_q;
  logic [127:0] own_q[Rows];
  for (genvar r = 0; r < Rows; r++) begin : gen_own
    always_comb begin
      spread[r] = turned[r];
      if (commands[tap_q[3].side].flags[npu_pkg::ExecFlagUpsample]) begin
        for (int unsigned i = 0; i < 8; i++) spread[r][16*i+:16] = {2{turned[r][8*i+:8]}};
      end
    end
    always_ff @(posedge clk) if (tap_q[3].valid && all_q[3]) own_q[r] <= spread[r];
  end
  always_ff @(posedge clk) if (tap_q[3].valid && !all_q[3]) broadcast_q <= spread[bank_q[3]];

  // Maximum: what lies outside takes no part, as the least value.
  logic [7:0] border;
  logic [127:0] masked, borders;
  assign border = commands[tap_q[4].side].mode == npu_pkg::ModeMaximum ? 8'h80
      : commands[tap_q[4].side].z_in;
  always_comb begin
    for (int unsigned l = 0; l < npu_pkg::Lanes; l++) masked[8*l+:8] = {8{outside[l]}};
  end
  assign borders = masked & {npu_pkg::Lanes{border}};
  for (genvar r = 0; r < Rows; r++) begin : gen_operand
    always_ff @(posedge clk) begin
      if (tap_q[4].valid) operand[r] <= borders | (~masked & (all_q[4] ? own_q[r] : broadcast_q));
    end
  end

  assign weight_tap = tap_q[3];
  assign operand_tap = tap_q[5];

endmodule
