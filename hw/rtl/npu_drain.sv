// Hands complete tiles from the array's shadow to the requantiser row by row.
//
// A row takes one cycle, two where its results fall into two map words (row mode), three for
// average pooling, whose lanes are summed on the way. The sequencer knows these numbers and never
// lets a tile arrive early.

module npu_drain (
    input  logic                                                                clk,
    input  logic                                                                rst,
    input  npu_pkg::exec_t commands[2],
    input  logic                [              1:0]                             accepted,
    input  logic                                                                done,
    input  logic signed         [31:0] shadow[npu_pkg::Rows][npu_pkg::Lanes],
    // A stage ahead of `row`: the tile, for addresses and parameters.
    output npu_core_pkg::slot_t                                                 slot,
    output npu_core_pkg::tile_t                                                 tile,
    // With the slot one stage on.
    output logic signed         [             31:0]                             row[npu_pkg::Lanes]
);

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

  logic busy_q;
  logic [npu_pkg::RowBits:0] index_q;
  logic [1:0] sub_q, sub_last;
  logic average, row_end;

  assign average = cmd.mode == npu_pkg::ModeAverage;
  always_comb begin
    sub_last = 2'd0;
    if (average) sub_last = 2'd2;
    else if (cmd.flags[npu_pkg::ExecFlagRowMode]
        && npu_core_pkg::crosses(cmd.out_w, tile.y[3:0], tile.x))
      sub_last = 2'd1;
  end
  assign row_end = busy_q && sub_q == sub_last;
  assign advance = row_end && index_q + 4'd1 == tile.rows;

  always_comb begin
    slot.valid = busy_q && (!average || row_end);
    slot.side = select;
    slot.channel = tile.channel + 11'(index_q);
    slot.half = sub_q[0] && !average;
    slot.pop = row_end && cmd.residual[1:0] != npu_pkg::ResNone;
    slot.last = advance && last;
  end

  always_ff @(posedge clk) begin
    if (done) begin
      busy_q  <= 1'b1;
      index_q <= '0;
      sub_q   <= '0;
    end else if (advance) busy_q <= 1'b0;
    else if (row_end) begin
      index_q <= index_q + 4'd1;
      sub_q   <= '0;
    end else if (busy_q) sub_q <= sub_q + 2'd1;
    if (rst) busy_q <= 1'b0;
  end

  logic [npu_pkg::RowBits-1:0] at;
  assign at = tile.row_first + index_q[npu_pkg::RowBits-1:0];

  // Average: sums of four lanes, then of all, while the row waits.
  logic signed [31:0] quarter_q[4];
  logic average_q;
  logic signed [31:0] lane_q[npu_pkg::Lanes];

  always_ff @(posedge clk) begin
    average_q <= average;
  end
  for (genvar l = 0; l < npu_pkg::Lanes; l++) begin : gen_lane
    always_ff @(posedge clk) if (busy_q) lane_q[l] <= shadow[at][l];
  end
  for (genvar i = 0; i < 4; i++) begin : gen_quarter
    always_ff @(posedge clk)
      if (average) quarter_q[i] <= (lane_q[4*i] + lane_q[4*i+1]) + (lane_q[4*i+2] + lane_q[4*i+3]);
  end

  always_comb begin
    row = lane_q;
    if (average_q) row[0] = (quarter_q[0] + quarter_q[1]) + (quarter_q[2] + quarter_q[3]);
  end

endmodule
