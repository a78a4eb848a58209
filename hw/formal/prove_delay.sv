// npu_delay: the output is the input of `Cycles` cycles ago, once that many cycles have passed
// since reset.
module prove_delay #(
  parameter int unsigned Width  = 1,
  parameter int unsigned Cycles = 10,
  parameter bit          Block  = 1'b0
) (
  input logic             clk_i,
  input logic             rst_ni,
  input logic [Width-1:0] data_i
);
  localparam int unsigned AddrBits = $clog2(Cycles);

  logic [Width-1:0] out;
  npu_delay #(
    .Width (Width),
    .Cycles(Cycles),
    .Block (Block)
  ) u_delay (
    .clk_i,
    .rst_ni,
    .data_i,
    .data_o(out)
  );

  // The last inputs, newest first; cycles since reset.
  logic begun_q = 1'b0;
  logic [Cycles-1:0][Width-1:0] past_q;
  logic [7:0] age_q;

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    past_q <= {past_q[Cycles-2:0], data_i};
    if (!rst_ni) age_q <= '0;
    else if (32'(age_q) < Cycles) age_q <= age_q + 1'b1;
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (begun_q) begin
      if (32'(age_q) == Cycles) assert (out == past_q[Cycles-1]);
      assert (32'(age_q) <= Cycles);
      cover (32'(age_q) == Cycles && past_q == {1'b1, {(Cycles - 1) {1'b0}}});
    end
  end

  // Invariant for the induction: the memory holds the inputs since reset.
  for (genvar i = 0; i < Cycles - 1; i++) begin : gen_held
    logic [Width-1:0] held;
    logic [AddrBits-1:0] place;
    assign place = u_delay.wr_ptr_q - AddrBits'(i + 1);
    if (Block) begin : gen_block
      assign held = u_delay.gen_part[0].gen_block.mem[place];
    end else begin : gen_distributed
      assign held = u_delay.gen_part[0].gen_distributed.mem[place];
    end
    always_comb begin
      if (begun_q && 32'(age_q) > i) assert (held == past_q[i]);
    end
  end
  if (Block) begin : gen_place
    always_comb begin
      if (begun_q) begin
        assert (u_delay.gen_part[0].gen_block.write_q == u_delay.wr_ptr_q);
        assert (u_delay.gen_part[0].gen_block.read_q == u_delay.wr_ptr_q - AddrBits'(Cycles - 1));
      end
    end
  end
endmodule
