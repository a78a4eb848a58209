// Drains complete tiles from the array's shadow registers to the requantiser, one or two rows per
// slot.
//
// Cycles per slot: 1; 2 where the results straddle two vectors (row mode); 3 per single row for
// average pooling, whose lanes are summed on the way:
//    row[0] = sum of shadow[r][l] over all lanes l
// The sequencer computes the same number of cycles and never lets a tile arrive early.

module npu_drain (
  input logic clk_i,
  input logic rst_ni,
  input npu_pkg::exec_t commands_i[2],
  input npu_core_pkg::shape_t shapes_i[2],
  input logic [1:0] accepted_i,
  // The tile is in the shadow registers two cycles later; `halves_i`: its results straddle two
  // vectors.
  input logic done_i,
  input logic halves_i,
  input logic signed [npu_core_pkg::AccBits-1:0] shadow_i[npu_pkg::Rows][npu_pkg::Lanes],
  // Three stages ahead of `row_o`: the tile and slot, for addresses and parameters.
  output npu_core_pkg::slot_t slot_o,
  output npu_core_pkg::tile_t tile_o,
  // Accumulators, three stages after their slot.
  output logic signed [31:0] row_o[npu_pkg::DrainRows][npu_pkg::Lanes]
);

  localparam int unsigned RowBits = npu_pkg::RowBits;
  localparam int unsigned DrainRows = npu_pkg::DrainRows;
  localparam int unsigned AccBits = npu_core_pkg::AccBits;

  logic select, advance, last;
  npu_core_pkg::tile_t current;

  npu_tile_iterator #(
    .Drained(1'b1),
    .Always (1'b1)
  ) u_tile_iterator (
    .clk_i,
    .rst_ni,
    .commands_i,
    .shapes_i,
    .accepted_i,
    .wanted_i     (1'b1),
    .advance_i    (advance),
    .valid_o      (),
    .select_o     (select),
    .next_select_o(),
    .tile_o       (current),
    .group_last_o (),
    .last_o       (last)
  );

  logic busy_q, halves_q;
  logic [RowBits:0] index_q, next;
  logic [1:0] sub_q;
  logic average, row_end;

  assign average = current.average;
  assign row_end = busy_q && (average ? sub_q[1] : sub_q[0] == halves_q);
  assign next = index_q + (average ? (RowBits + 1)'(1) : (RowBits + 1)'(DrainRows));
  assign advance = row_end && next >= current.rows;

  always_ff @(posedge clk_i) begin
    if (done_i) begin
      halves_q <= halves_i;
      busy_q <= 1'b1;
      index_q <= '0;
      sub_q <= '0;
    end else if (advance) busy_q <= 1'b0;
    else if (row_end) begin
      index_q <= next;
      sub_q <= '0;
    end else if (busy_q) sub_q <= sub_q + 2'd1;
    if (!rst_ni) busy_q <= 1'b0;
  end

  always_ff @(posedge clk_i) begin
    slot_o.valid <= '0;
    slot_o.valid[0] <= busy_q && (!average || row_end);
    for (int unsigned d = 1; d < DrainRows; d++) begin
      slot_o.valid[d] <= busy_q && !average && index_q + (RowBits + 1)'(d) < current.rows;
    end
    slot_o.ctx <= select;
    slot_o.channel <= current.channel + 11'(index_q);
    slot_o.half <= sub_q[0] && !average;
    slot_o.pop <= row_end && current.eltwise;
    slot_o.last <= advance && last;
    tile_o <= current;
    if (!rst_ni) begin
      slot_o.valid <= '0;
      slot_o.last <= 1'b0;
    end
  end

  logic [RowBits-1:0] at;
  assign at = current.row_first + index_q[RowBits-1:0];

  // One-hot selection of the drained rows; of two neighbouring rows one is even and the other odd.
  logic [npu_pkg::Rows-1:0] chosen;
  always_comb begin
    for (int unsigned r = 0; r < npu_pkg::Rows; r++) begin
      chosen[r] = at == RowBits'(r) || (DrainRows == 2 && at + RowBits'(1) == RowBits'(r));
    end
  end

  // Average pooling: delayed to the selection, to the partial sums, and to the row.
  logic [3:1] average_q;
  logic signed [31:0] lane_q[DrainRows][npu_pkg::Lanes];
  always_ff @(posedge clk_i) average_q <= {average_q[2:1], average};

  // Every four lanes have a copy of the selection. An AND-OR tree takes five LUTs per bit of eight
  // rows, a multiplexer tree seven. Even and odd rows are combined separately first.
  for (genvar i = 0; i < npu_pkg::Lanes / 4; i++) begin : gen_lanes
    logic [npu_pkg::Rows-1:0] chosen_q;
    logic odd_q, odd2_q;
    always_ff @(posedge clk_i) odd2_q <= odd_q;
    npu_replica #(
      .Width(npu_pkg::Rows + 1)
    ) u_choice (
      .clk_i,
      .d_i({at[0], chosen}),
      .q_o({odd_q, chosen_q})
    );
    for (genvar l = 4 * i; l < 4 * i + 4; l++) begin : gen_lane
      logic [AccBits-1:0] part[2], part_q[2];
      always_comb begin
        part = '{default: '0};
        for (int unsigned r = 0; r < npu_pkg::Rows; r++) begin
          part[r%2] |= shadow_i[r][l] & {AccBits{chosen_q[r]}};
        end
      end
      always_ff @(posedge clk_i) begin
        part_q <= part;
        for (int unsigned d = 0; d < DrainRows; d++) begin
          lane_q[d][l] <= 32'($signed(DrainRows == 1 ? part_q[0] | part_q[1] :
                                      odd2_q == (d == 1) ? part_q[0] : part_q[1]));
        end
      end
    end
  end

  // Average pooling: sums of four lanes, of half of the lanes and of all lanes, while the row
  // waits.
  localparam int unsigned Quarters = npu_pkg::Lanes / 4;
  logic signed [31:0] quarter_q[Quarters], half_q[2];
  for (genvar i = 0; i < Quarters; i++) begin : gen_quarter
    always_ff @(posedge clk_i) begin
      if (average_q[2])
        quarter_q[i] <= (lane_q[0][4*i] + lane_q[0][4*i+1]) + (lane_q[0][4*i+2] + lane_q[0][4*i+3]);
    end
  end

  for (genvar i = 0; i < 2; i++) begin : gen_half
    if (Quarters == 4) begin : gen_two
      always_ff @(posedge clk_i) half_q[i] <= quarter_q[2*i] + quarter_q[2*i+1];
    end else begin : gen_one
      always_ff @(posedge clk_i) half_q[i] <= quarter_q[i];
    end
  end

  always_ff @(posedge clk_i) begin
    row_o <= lane_q;
    if (average_q[3]) row_o[0][0] <= half_q[0] + half_q[1];
  end

endmodule
