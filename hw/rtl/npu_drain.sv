// Hands complete tiles from the array's shadow to the requantiser, one or two rows at a time.
//
// That takes one cycle, two where the results fall into two map words (row mode). Average pooling
// takes three cycles for every single row, whose lanes are summed on the way. The sequencer knows
// these numbers and never lets a tile arrive early.

module npu_drain (
    input  logic                                                                clk,
    input  logic                                                                rst,
    input  npu_pkg::exec_t commands[2],
    input  npu_core_pkg::shape_t                                                shapes[2],
    input  logic                [              1:0]                             accepted,
    // The tile stands in the shadow two cycles on; whether its results fall into two map words.
    input  logic                                                                done,
    input  logic                                                                halves,
    input  logic signed [npu_core_pkg::AccBits-1:0] shadow[npu_pkg::Rows][npu_pkg::Lanes],
    // Three stages ahead of `row`: the tile, for addresses and parameters.
    output npu_core_pkg::slot_t                                                 slot,
    output npu_core_pkg::tile_t                                                 tile,
    // With the slot three stages on.
    output logic signed         [31:0] row[npu_pkg::DrainRows][npu_pkg::Lanes]
);

  localparam int unsigned RowBits = npu_pkg::RowBits;
  localparam int unsigned DrainRows = npu_pkg::DrainRows;
  localparam int unsigned AccBits = npu_core_pkg::AccBits;

  logic select, advance, last;
  npu_core_pkg::tile_t current;

  npu_tiles #(
      .Drained(1'b1),
      .Always (1'b1)
  ) u_tiles (
      .clk,
      .rst,
      .commands,
      .shapes,
      .accepted,
      .wanted(1'b1),
      .advance,
      .valid(),
      .select,
      .next_select(),
      .tile(current),
      .group_last(),
      .last
  );

  logic busy_q, halves_q;
  logic [RowBits:0] index_q, next;
  logic [1:0] sub_q;
  logic average, row_end;

  assign average = current.average;
  assign row_end = busy_q && (average ? sub_q[1] : sub_q[0] == halves_q);
  assign next = index_q + (average ? (RowBits + 1)'(1) : (RowBits + 1)'(DrainRows));
  assign advance = row_end && next >= current.rows;

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

  always_ff @(posedge clk) begin
    slot.valid <= '0;
    slot.valid[0] <= busy_q && (!average || row_end);
    for (int unsigned d = 1; d < DrainRows; d++) begin
      slot.valid[d] <= busy_q && !average && index_q + (RowBits + 1)'(d) < current.rows;
    end
    slot.side <= select;
    slot.channel <= current.channel + 11'(index_q);
    slot.half <= sub_q[0] && !average;
    slot.pop <= row_end && current.second;
    slot.last <= advance && last;
    tile <= current;
    if (rst) begin
      slot.valid <= '0;
      slot.last <= 1'b0;
    end
  end

  logic [RowBits-1:0] at;
  assign at = current.row_first + index_q[RowBits-1:0];

  // Rows that are chosen: of two neighbours one is even, the other odd.
  logic [npu_pkg::Rows-1:0] chosen;
  always_comb begin
    for (int unsigned r = 0; r < npu_pkg::Rows; r++) begin
      chosen[r] = at == RowBits'(r) || (DrainRows == 2 && at + RowBits'(1) == RowBits'(r));
    end
  end

  // Of average pooling: with the choice, with the rows' parts, with the row.
  logic [3:1] average_q;
  logic signed [31:0] lane_q[DrainRows][npu_pkg::Lanes];
  always_ff @(posedge clk) average_q <= {average_q[2:1], average};

  // Four lanes at a time have a copy of the choice. Gated sums take five LUTs a bit of eight rows,
  // where a tree of choices takes seven; even and odd rows are added up first.
  for (genvar i = 0; i < npu_pkg::Lanes / 4; i++) begin : gen_lanes
    logic [npu_pkg::Rows-1:0] chosen_q;
    logic odd_q, odd2_q;
    always_ff @(posedge clk) odd2_q <= odd_q;
    npu_replica #(
        .Width(npu_pkg::Rows + 1)
    ) u_choice (
        .clk,
        .in ({at[0], chosen}),
        .out({odd_q, chosen_q})
    );
    for (genvar l = 4 * i; l < 4 * i + 4; l++) begin : gen_lane
      logic [AccBits-1:0] part[2], part_q[2];
      always_comb begin
        part = '{default: '0};
        for (int unsigned r = 0; r < npu_pkg::Rows; r++) begin
          part[r%2] |= shadow[r][l] & {AccBits{chosen_q[r]}};
        end
      end
      always_ff @(posedge clk) begin
        part_q <= part;
        for (int unsigned d = 0; d < DrainRows; d++) begin
          lane_q[d][l] <= 32'($signed(DrainRows == 1 ? part_q[0] | part_q[1]
              : odd2_q == (d == 1) ? part_q[0] : part_q[1]));
        end
      end
    end
  end

  // Average: sums of four lanes, of half the lanes, of all, while the row waits.
  localparam int unsigned Quarters = npu_pkg::Lanes / 4;
  logic signed [31:0] quarter_q[Quarters], half_q[2];
  for (genvar i = 0; i < Quarters; i++) begin : gen_quarter
    always_ff @(posedge clk) begin
      if (average_q[2])
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

  always_ff @(posedge clk) begin
    row <= lane_q;
    if (average_q[3]) row[0][0] <= half_q[0] + half_q[1];
  end

endmodule
