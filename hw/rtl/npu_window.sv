// Window of one bank: four words that the taps select from, and four that are being fetched.
//
// With stride 2 a word is kept as its even bytes, then its odd bytes; the taps of one kernel column
// are then neighbours again. A tap selects three chunks of eight bytes, then shifts by single bytes.

module npu_window (
    input  logic         clk,
    // Bank data.
    input  logic         load,
    input  logic [  1:0] load_word,
    input  logic         load_split,
    input  logic [127:0] data,
    // The fetched words become the current ones.
    input  logic         move,
    // Tap: chunks and byte shift, a stage apart.
    input  logic         pick,
    input  logic [  2:0] chunk_a,
    input  logic [  2:0] chunk_b,
    input  logic [  2:0] chunk_c,
    input  logic         turn,
    input  logic [  2:0] shift,
    output logic [127:0] operand
);

  logic [127:0] stored;
  logic [127:0] next_q[4];
  logic [127:0] current_q[4];
  logic [191:0] chunks_q;

  always_comb begin
    stored = data;
    if (load_split) begin
      for (int unsigned i = 0; i < 8; i++) begin
        stored[8*i+:8] = data[16*i+:8];
        stored[64+8*i+:8] = data[16*i+8+:8];
      end
    end
  end

  function automatic logic [63:0] chunk(input logic [127:0] word, input logic high);
    return high ? word[127:64] : word[63:0];
  endfunction


  always_ff @(posedge clk) begin
    if (load) next_q[load_word] <= stored;
    if (move) begin
      for (int unsigned i = 0; i < 4; i++) current_q[i] <= next_q[i];
    end
    if (pick) begin
      chunks_q <= {
        chunk(current_q[chunk_c[2:1]], chunk_c[0]),
        chunk(current_q[chunk_b[2:1]], chunk_b[0]),
        chunk(current_q[chunk_a[2:1]], chunk_a[0])
      };
    end
    if (turn) operand <= 128'(chunks_q >> {shift, 3'b000});
  end

endmodule
