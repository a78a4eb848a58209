// Hands complete tiles from the array's shadow to the requantiser, one or two rows at a time.
//
// That takes one cycle, two where the results fall into two map words (row mode). Average pooling
// takes three cycles for every single row, whose lanes are summed on the way. The sequencer knows
// these numbers and never lets a tile arrive early.

module npu_drain (
    input  logic                                                                clk,
    input  logic                                                                rst,
    input  npu_pkg::exec_t commands[2],
    input  logic                [              1:0]                             accepted,
    input  logic                                                                done,
    // With `done`: the tile's results fall into two map words.
    input  logic                                                                halves,
    input  logic signed [npu_core_pkg::AccBits-1:0] shadow[npu_pkg::Rows][npu_pkg::Lanes],
    // A stage ahead of `row`: the tile, for addresses and parameters.
    output npu_core_pkg::slot_t                                                 slot,
    output npu_core_pkg::tile_t                                                 tile,
    // With the slot one stage on.
    output logic signed         [31:0] row[npu_pkg::DrainRows][npu_pkg::Lanes]
);

  localparam int unsigned RowBits = npu_pkg::RowBits;
  localparam int unsigned DrainRows = npu_pkg::DrainRows;
  localparam int unsigned AccBits = npu_core_pkg::AccBits;

  npu_pkg::exec_t cmd;
  logic select, advance, last;

  npu_tiles #(
      .Drained(1'b1),
      .Always (1'b1)
  ) u_tiles (
      .clk,
      .rst,
      .commands,
      .accepted,
      .wanted(1'b1),
      .advance,
      .valid(),
      .select,
      .cmd,
      .tile,
      .group_last(),
      .last
  );

  logic busy_q, halves_q;
  logic [RowBits:0] index_q, next;
  logic [1:0] sub_q, sub_last;
  logic average, row_end;

  assign average = cmd.mode == npu_pkg::ModeAverage;
  always_comb begin
    sub_last = 2'd0;
    if (average) sub_last = 2'd2;
    else if (halves_q) sub_last = 2'd1;
  end
  assign row_end = busy_q && sub_q == sub_last;
  assign next = index_q + (average ? (RowBits + 1)'(1) : (RowBits + 1)'(DrainRows));
  assign advance = row_end && next >= tile.rows;

  always_comb begin
    slot.valid = '0;
    slot.valid[0] = busy_q && (!average || row_end);
    for (int unsigned d = 1; d < DrainRows; d++) begin
      slot.valid[d] = busy_q && !average && index_q + (RowBits + 1)'(d) < tile.rows;
    end
    slot.side = select;
    slot.channel = tile.channel + 11'(index_q);
    slot.half = sub_q[0] && !average;
    slot.pop = row_end && cmd.residual[1:0] != npu_pkg::ResNone;
    slot.last = advance && last;
  end

  always_ff @(posedge clk) begin
    if (done) begin
      halves_q <= halves;
      busy_q  <= 1'b1;
      index_q <= '0;
      sub_q   <= '0;
    end else if (advance) busy_q <= 1'b0;
    else if (row_end) begin
      index_q <= next;
      sub_q   <= '0;
    end else if (busy_q) sub_q <= sub_q + 2'd1;
    if (rst) busy_q <= 1'b0;
  end

  logic [RowBits-1:0] at;
  assign at = tile.row_first + index_q[RowBits-1:0];

  logic average_q;
  logic signed [31:0] lane_q[DrainRows][npu_pkg::Lanes];
  always_ff @(posedge clk) average_q <= average;

  for (genvar l = 0; l < npu_pkg::Lanes; l++) begin : gen_lane
    logic [AccBits-1:0] column[npu_pkg::Rows];
    for (genvar r = 0; r < npu_pkg::Rows; r++) begin : gen_row
      assign column[r] = shadow[r][l];
    end
    if (DrainRows == 1) begin : gen_one
      logic [AccBits-1:0] chosen;
      npu_select #(
          .Words(npu_pkg::Rows),
          .Width(AccBits)
      ) u_select (
          .index(at),
          .words(column),
          .out  (chosen)
      );
      always_ff @(posedge clk) if (busy_q) lane_q[0][l] <= 32'($signed(chosen));
    end else begin : gen_two
      // One of two neighbours is even: each half of the shadow gives one of them.
      logic signed [AccBits-1:0] even, odd;
      assign even = column[{at[RowBits-1:1]+(RowBits-1)'(at[0]), 1'b0}];
      assign odd  = column[{at[RowBits-1:1], 1'b1}];
      always_ff @(posedge clk) begin
        if (busy_q) begin
          lane_q[0][l] <= at[0] ? 32'(odd) : 32'(even);
          lane_q[1][l] <= at[0] ? 32'(even) : 32'(odd);
        end
      end
    end
  end

  // Average: sums of four lanes, of half the lanes, of all, while the row waits.
  localparam int unsigned Quarters = npu_pkg::Lanes / 4;
  logic signed [31:0] quarter_q[Quarters], half_q[2];
  for (genvar i = 0; i < Quarters; i++) begin : gen_quarter
    always_ff @(posedge clk) begin
      if (average)
        quarter_q[i] <= (lane_q[0][4*i] + lane_q[0][4*i+1]) + (lane_q[0][4*i+2] + lane_q[0][4*i+3]);
    end
  end

  for (genvar i = 0; i < 2; i++) begin : gen_half
    if (Quarters == 4) begin : gen_two
      always_ff @(posedge clk) half_q[i] <= quarter_q[2*i] + quarter_q[2*i+1];
    end else begin : gen_one
      always_ff @(posedge clk) half_q[i] <= quarter_q[i];
    end
  end

  always_comb begin
    row = lane_q;
    if (average_q) row[0][0] = half_q[0] + half_q[1];
  end

endmodule
