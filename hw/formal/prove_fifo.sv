// npu_fifo: preserves order, loses and invents nothing, never overflows.
//
// Any one entry may be marked when it is pushed. It must come out unchanged when exactly the
// entries ahead of it have left. The buffer never looks at its data, so one bit represents all
// widths.
module prove_fifo #(
  parameter int unsigned Width = 1,
  parameter int unsigned Depth = 4
) (
  input logic             clk_i,
  input logic             rst_ni,
  input logic             push_valid_i,
  input logic [Width-1:0] push_data_i,
  input logic             pop_ready_i,
  input logic             mark_i
);
  localparam int unsigned Bits = $clog2(Depth);

  logic push_ready, pop_valid;
  logic [Width-1:0] pop_data;
  logic [Bits:0] count;

  npu_fifo #(
    .Width(Width),
    .Depth(Depth)
  ) u_fifo (
    .clk_i,
    .rst_ni,
    .push_valid_i,
    .push_ready_o(push_ready),
    .push_data_i,
    .pop_valid_o (pop_valid),
    .pop_ready_i,
    .pop_data_o  (pop_data),
    .count_o     (count)
  );

  logic begun_q = 1'b0;
  logic push, pop;
  assign push = push_valid_i && push_ready;
  assign pop = pop_valid && pop_ready_i;

  // Entries in the buffer; entries ahead of the marked one.
  logic [Bits:0] level_q, ahead_q;
  logic marked_q;
  logic [Width-1:0] data_q;
  // Index of the marked entry, for the induction.
  logic [Bits-1:0] place;
  assign place = u_fifo.read_q[Bits-1:0] + ahead_q[Bits-1:0];

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    level_q <= level_q + (Bits + 1)'(push) - (Bits + 1)'(pop);
    if (marked_q && pop) begin
      ahead_q <= ahead_q - 1'b1;
      if (ahead_q == '0) marked_q <= 1'b0;
    end
    if (!marked_q && mark_i && push) begin
      marked_q <= 1'b1;
      data_q <= push_data_i;
      ahead_q <= level_q - (Bits + 1)'(pop);
    end
    if (!rst_ni) begin
      level_q <= '0;
      marked_q <= 1'b0;
    end
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (begun_q) begin
      assert (count == level_q);
      assert (level_q <= (Bits + 1)'(Depth));
      assert (push_ready == (level_q < (Bits + 1)'(Depth)));
      assert (pop_valid == (level_q != '0));
      if (marked_q) assert (ahead_q < level_q);
      if (marked_q) assert (u_fifo.mem[place] == data_q);
      if (marked_q && ahead_q == '0) assert (pop_valid && pop_data == data_q);
      cover (marked_q && ahead_q == (Bits + 1)'(Depth - 1) && !push_ready);
    end
  end
endmodule
