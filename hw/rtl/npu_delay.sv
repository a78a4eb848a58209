// Delay line: data_o is data_i of `Cycles` cycles ago, kept in distributed or block RAM.

module npu_delay #(
  parameter int unsigned Width  = 8,
  parameter int unsigned Cycles = 8,    // 2 to 16
  // Block RAM instead of distributed RAM, for wide words.
  parameter bit          Block  = 1'b0
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [Width-1:0] data_i,
  output logic [Width-1:0] data_o
);

  localparam int unsigned AddrBits = $clog2(Cycles);

  // An entry is read before it is overwritten; the output register is the last cycle of the delay.
  logic [AddrBits-1:0] wr_ptr_q, wr_ptr;
  assign wr_ptr = !rst_ni ? '0 : wr_ptr_q + AddrBits'(1);
  always_ff @(posedge clk_i) wr_ptr_q <= wr_ptr;

  // Each block RAM has its own pointers, since block RAMs are placed across the device.
  localparam int unsigned Part = Block && Width > 36 ? 36 : Width;
  for (genvar first = 0; first < Width; first += Part) begin : gen_part
    localparam int unsigned Bits = Width - first < Part ? Width - first : Part;
    if (Block) begin : gen_block
      logic [AddrBits-1:0] write_q, read_q;
      npu_replica #(
        .Width(2 * AddrBits)
      ) u_pointers (
        .clk_i,
        .d_i({wr_ptr, wr_ptr - AddrBits'(Cycles - 1)}),
        .q_o({write_q, read_q})
      );
      (* ram_style = "block", no_rw_check *) logic [Bits-1:0] mem[2**AddrBits];
      always_ff @(posedge clk_i) begin
        mem[write_q] <= data_i[first+:Bits];
        data_o[first+:Bits] <= mem[read_q];
      end
    end else begin : gen_distributed
      logic [AddrBits-1:0] oldest;
      assign oldest = wr_ptr_q - AddrBits'(Cycles - 1);
      logic [Bits-1:0] mem[2**AddrBits];
      always_ff @(posedge clk_i) begin
        mem[wr_ptr_q] <= data_i[first+:Bits];
        data_o[first+:Bits] <= mem[oldest];
      end
    end
  end

endmodule
