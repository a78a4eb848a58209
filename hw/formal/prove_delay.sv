// npu_delay: what goes in comes out `Cycles` later, once that many cycles have passed since reset.
module prove_delay #(
  parameter int unsigned Width = 1,
  parameter int unsigned Cycles = 10
) (
  input logic             clk,
  input logic             rst,
  input logic [Width-1:0] in
);
  localparam int unsigned AddrBits = $clog2(Cycles);

  logic [Width-1:0] out;
  npu_delay #(.Width(Width), .Cycles(Cycles)) u_delay (.*);

  // The last inputs, newest first; cycles since reset.
  logic                         begun_q = 1'b0;
  logic [Cycles-1:0][Width-1:0] past_q;
  logic [7:0]                   age_q;

  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    past_q  <= {past_q[Cycles-2:0], in};
    if (rst) age_q <= '0;
    else if (32'(age_q) < Cycles) age_q <= age_q + 1'b1;
  end

  always_comb begin
    if (!begun_q) assume (rst);
    if (begun_q) begin
      if (32'(age_q) == Cycles) assert (out == past_q[Cycles-1]);
      // What the induction needs: the memory holds the inputs since reset.
      for (int unsigned i = 0; i < Cycles - 1; i++) begin
        if (32'(age_q) > i) assert (u_delay.mem[u_delay.place_q - AddrBits'(i + 1)] == past_q[i]);
      end
      assert (32'(age_q) <= Cycles);
      cover (32'(age_q) == Cycles && past_q == {1'b1, {(Cycles - 1){1'b0}}});
    end
  end
endmodule
