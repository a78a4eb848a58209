// Window buffer of one bank: four vectors that the taps select from, and four that are being
// fetched.
//
// A tap takes `Lanes` bytes from any offset: each byte column comes from the vector where the tap
// starts, or from the next one for columns before the offset; then the columns are rotated. With
// stride 2 a tap takes all even or all odd bytes of two vectors: of the first vector of a pair the
// even bytes are stored in the lower columns and the odd bytes in the upper columns, of the second
// vector the other way round.

module npu_window (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  // Bank data; one cycle ahead its vector number, and whether it is split by parity.
  input  logic [                  1:0] next_word_i,
  input  logic                         next_split_i,
  input  logic                         load_i,
  input  logic [ 8*npu_pkg::Lanes-1:0] data_i,
  // The fetched vectors become the current ones.
  input  logic                         move_i,
  // Tap: the source vector of each column; one stage later its offset; one stage later whether this
  // bank is selected. The operand of a bank that is not selected is zero.
  input  logic [ 2*npu_pkg::Lanes-1:0] sources_i,
  input  logic [npu_pkg::LaneBits-1:0] rotate_i,
  input  logic                         select_i,
  output logic [ 8*npu_pkg::Lanes-1:0] operand_o
);

  localparam int unsigned Lanes = npu_pkg::Lanes;
  localparam int unsigned LaneBits = npu_pkg::LaneBits;

  // Half of the memory is being fetched, the other half is current.
  logic fetched_q, fetched;
  assign fetched = fetched_q ^ move_i;
  always_ff @(posedge clk_i) fetched_q <= rst_ni && fetched;

  // Each window buffer registers the selections that reach all of its bytes.
  logic [1:0] word_q;
  logic split_q;
  logic [LaneBits-1:0] rotate_q;
  logic [2*Lanes-1:0] sources_q;
  always_ff @(posedge clk_i) begin
    word_q <= next_word_i;
    split_q <= next_split_i;
    rotate_q <= rotate_i;
    sources_q <= sources_i;
  end

  logic [8*Lanes-1:0] stored, columns, columns_q;
  logic [8*Lanes-1:0] by_eight, by_four, by_two, by_one;
  for (genvar b = 0; b < Lanes; b++) begin : gen_column
    localparam int unsigned Even = (2 * b) % Lanes + b / (Lanes / 2);
    localparam int unsigned Odd = (2 * b + 1) % Lanes - b / (Lanes / 2);
    always_comb begin
      stored[8*b+:8] = data_i[8*b+:8];
      if (split_q) stored[8*b+:8] = word_q[0] ? data_i[8*Odd+:8] : data_i[8*Even+:8];
    end

    // Distributed RAM, since each column has its own read address.
    (* ram_style = "distributed" *) logic [7:0] mem[8];
    always_ff @(posedge clk_i) if (load_i) mem[{fetched, word_q}] <= stored[8*b+:8];
    assign columns[8*b+:8] = mem[{!fetched_q, sources_q[2*b+:2]}];
  end

  assign by_eight = Lanes == 16 && rotate_q[LaneBits-1] ?
      {columns_q[4*Lanes-1:0], columns_q[8*Lanes-1:4*Lanes]} : columns_q;
  assign by_four = rotate_q[2] ? {by_eight[31:0], by_eight[8*Lanes-1:32]} : by_eight;
  assign by_two = rotate_q[1] ? {by_four[15:0], by_four[8*Lanes-1:16]} : by_four;
  assign by_one = rotate_q[0] ? {by_two[7:0], by_two[8*Lanes-1:8]} : by_two;

  always_ff @(posedge clk_i) begin
    columns_q <= columns;
    operand_o <= select_i ? by_one : '0;
  end

endmodule
