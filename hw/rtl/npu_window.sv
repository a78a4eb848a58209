// Window of one bank: four words that the taps select from, and four that are being fetched.
//
// A tap takes as many bytes as there are lanes from any place: each byte column comes from the word where the tap begins, or
// from the next one for columns before that place; then the columns are rotated. With stride 2 a tap
// takes all even or all odd bytes of two words: of the first of a pair of words the even bytes are
// kept in the lower columns and the odd bytes in the upper ones, of the second the other way round.

module npu_window (
    input  logic         clk,
    input  logic         rst,
    // Bank data; a cycle ahead which word it will be, and whether it is split.
    input  logic [  1:0] next_word,
    input  logic         next_split,
    input  logic         load,
    input  logic [8*npu_pkg::Lanes-1:0] data,
    // The fetched words become the current ones.
    input  logic         move,
    // Tap: a cycle ahead the word of each column; then its place; a stage on whether it is this bank's, and
    // zero where it is not.
    input  logic [2*npu_pkg::Lanes-1:0] sources,
    input  logic [npu_pkg::LaneBits-1:0] place,
    input  logic         turn,
    output logic [8*npu_pkg::Lanes-1:0] operand
);

  localparam int unsigned Lanes = npu_pkg::Lanes;
  localparam int unsigned LaneBits = npu_pkg::LaneBits;

  // Half of the memory is fetched, the other half is current.
  logic fetched_q, fetched;
  assign fetched = fetched_q ^ move;
  always_ff @(posedge clk) fetched_q <= !rst && fetched;

  // Choices that reach every byte are registers of each window.
  logic [1:0] word_q;
  logic split_q;
  logic [LaneBits-1:0] place_q;
  logic [2*Lanes-1:0] sources_q;
  always_ff @(posedge clk) begin
    word_q  <= next_word;
    split_q <= next_split;
    place_q <= place;
    sources_q <= sources;
  end

  logic [8*Lanes-1:0] stored, columns, columns_q;
  logic [8*Lanes-1:0] by_eight, by_four, by_two, by_one;
  for (genvar b = 0; b < Lanes; b++) begin : gen_column
    localparam int unsigned Even = (2 * b) % Lanes + b / (Lanes / 2);
    localparam int unsigned Odd = (2 * b + 1) % Lanes - b / (Lanes / 2);
    always_comb begin
      stored[8*b+:8] = data[8*b+:8];
      if (split_q) stored[8*b+:8] = word_q[0] ? data[8*Odd+:8] : data[8*Even+:8];
    end

    // Distributed RAM: a column has an address of its own to read.
    (* ram_style = "distributed" *) logic [7:0] mem[8];
    always_ff @(posedge clk) if (load) mem[{fetched, word_q}] <= stored[8*b+:8];
    assign columns[8*b+:8] = mem[{!fetched_q, sources_q[2*b+:2]}];
  end

  assign by_eight = Lanes == 16 && place_q[LaneBits-1]
      ? {columns_q[4*Lanes-1:0], columns_q[8*Lanes-1:4*Lanes]} : columns_q;
  assign by_four = place_q[2] ? {by_eight[31:0], by_eight[8*Lanes-1:32]} : by_eight;
  assign by_two = place_q[1] ? {by_four[15:0], by_four[8*Lanes-1:16]} : by_four;
  assign by_one = place_q[0] ? {by_two[7:0], by_two[8*Lanes-1:8]} : by_two;

  always_ff @(posedge clk) begin
    columns_q <= columns;
    operand   <= turn ? by_one : '0;
  end

endmodule
