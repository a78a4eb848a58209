// First-in first-out buffer of `Depth` entries (a power of two) with the oldest entry at the
// output.
//
// push: push_valid_i and push_ready_o; pop: pop_valid_o and pop_ready_i; count_o = entries.
module npu_fifo #(
  parameter int unsigned Width = 64,
  parameter int unsigned Depth = 16
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   push_valid_i,
  output logic                   push_ready_o,
  input  logic [      Width-1:0] push_data_i,
  output logic                   pop_valid_o,
  input  logic                   pop_ready_i,
  output logic [      Width-1:0] pop_data_o,
  output logic [$clog2(Depth):0] count_o
);
  localparam int unsigned Bits = $clog2(Depth);

  // An entry is not valid yet in the cycle in which it is written.
  (* no_rw_check *) logic [Width-1:0] mem[Depth];
  logic [Bits:0] write_q, read_q;

  assign count_o = write_q - read_q;
  assign push_ready_o = write_q != {!read_q[Bits], read_q[Bits-1:0]};
  assign pop_valid_o = write_q != read_q;
  assign pop_data_o = mem[read_q[Bits-1:0]];

  always_ff @(posedge clk_i) begin
    if (push_valid_i && push_ready_o) mem[write_q[Bits-1:0]] <= push_data_i;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_q <= '0;
      read_q <= '0;
    end else begin
      if (push_valid_i && push_ready_o) write_q <= write_q + 1'b1;
      if (pop_valid_o && pop_ready_i) read_q <= read_q + 1'b1;
    end
  end
endmodule
