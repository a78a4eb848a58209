// First-in first-out buffer; the oldest entry stands at the output. Depth is a power of two.
module npu_fifo #(
  parameter int unsigned Width = 64,
  parameter int unsigned Depth = 16
) (
  input  logic                     clk,
  input  logic                     rst,
  input  logic                     push_valid,
  output logic                     push_ready,
  input  logic [Width-1:0]         push_data,
  output logic                     pop_valid,
  input  logic                     pop_ready,
  output logic [Width-1:0]         pop_data,
  output logic [$clog2(Depth):0]   count
);
  localparam int unsigned Bits = $clog2(Depth);

  // What is read in the cycle in which it is written is not valid yet.
  (* no_rw_check *) logic [Width-1:0] mem [Depth];
  logic [Bits:0] write_q, read_q;

  assign count      = write_q - read_q;
  assign push_ready = write_q != {!read_q[Bits], read_q[Bits-1:0]};
  assign pop_valid  = write_q != read_q;
  assign pop_data   = mem[read_q[Bits-1:0]];

  always_ff @(posedge clk) begin
    if (push_valid && push_ready) mem[write_q[Bits-1:0]] <= push_data;
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      write_q <= '0;
      read_q  <= '0;
    end else begin
      if (push_valid && push_ready) write_q <= write_q + 1'b1;
      if (pop_valid && pop_ready) read_q <= read_q + 1'b1;
    end
  end
endmodule
