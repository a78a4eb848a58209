// Window of one bank: four words that the taps select from, and four that are being fetched.
//
// A tap takes 16 bytes from any place: each byte column comes from the word where the tap begins, or
// from the next one for columns before that place; then the columns are rotated. With stride 2 the
// even bytes of a pair of words are kept in the first of them and the odd bytes in the second, so
// that the pixels of a tap are neighbours, and the next word is the next but one.

module npu_window (
    input  logic         clk,
    // Bank data.
    input  logic         load,
    input  logic [  1:0] load_word,
    input  logic         load_split,
    input  logic [127:0] data,
    // The fetched words become the current ones.
    input  logic         move,
    // Tap: word of each column, and the rotation a stage on.
    input  logic         pick,
    input  logic [ 31:0] sources,
    input  logic         turn,
    input  logic [  3:0] place,
    output logic [127:0] operand
);

  logic [63:0] even, odd;
  always_comb begin
    for (int unsigned i = 0; i < 8; i++) begin
      even[8*i+:8] = data[16*i+:8];
      odd[8*i+:8]  = data[16*i+8+:8];
    end
  end

  // Halves of the words that are fetched, and of the current ones.
  logic [63:0] fetched_q[4][2];
  logic [127:0] current_q[4];
  for (genvar w = 0; w < 4; w++) begin : gen_word
    for (genvar h = 0; h < 2; h++) begin : gen_half
      logic hit;
      assign hit = load_split ? load_word == 2'((w & 2) + h) : load_word == 2'(w);
      always_ff @(posedge clk) begin
        if (load && hit)
          fetched_q[w][h] <= !load_split ? data[64*h+:64] : w % 2 == 0 ? even : odd;
      end
    end
    always_ff @(posedge clk) if (move) current_q[w] <= {fetched_q[w][1], fetched_q[w][0]};
  end

  logic [127:0] columns, columns_q, coarse, fine;
  always_comb begin
    for (int unsigned b = 0; b < 16; b++) begin
      unique case (sources[2*b+:2])
        2'd0: columns[8*b+:8] = current_q[0][8*b+:8];
        2'd1: columns[8*b+:8] = current_q[1][8*b+:8];
        2'd2: columns[8*b+:8] = current_q[2][8*b+:8];
        default: columns[8*b+:8] = current_q[3][8*b+:8];
      endcase
    end
  end

  // Rotation by four columns, then by one.
  always_comb begin
    unique case (place[3:2])
      2'd0: coarse = columns_q;
      2'd1: coarse = {columns_q[31:0], columns_q[127:32]};
      2'd2: coarse = {columns_q[63:0], columns_q[127:64]};
      default: coarse = {columns_q[95:0], columns_q[127:96]};
    endcase
    unique case (place[1:0])
      2'd0: fine = coarse;
      2'd1: fine = {coarse[7:0], coarse[127:8]};
      2'd2: fine = {coarse[15:0], coarse[127:16]};
      default: fine = {coarse[23:0], coarse[127:24]};
    endcase
  end

  always_ff @(posedge clk) begin
    if (pick) columns_q <= columns;
    if (turn) operand <= fine;
  end

endmodule
