// The accelerator behind four pins, for place and route: every input comes from a register of one
// shift chain, every output goes to a register, and those are folded into one pin.

module npu_harness (
    input  logic clk,
    input  logic rst_pin,
    input  logic serial_in,
    output logic serial_out
);

  localparam int unsigned DataBits = 8 * npu_pkg::AxiBytes;

  typedef struct packed {
    logic                awvalid, wvalid, bready, arvalid, rready;
    logic [7:0]          awaddr, araddr;
    logic [31:0]         wdata;
    logic [3:0]          wstrb;
    logic                m_arready, m_rvalid, m_rlast, m_awready, m_wready, m_bvalid;
    logic [DataBits-1:0] m_rdata;
    logic [1:0]          m_rresp, m_bresp;
  } inputs_t;

  typedef struct packed {
    logic                  awready, wready, bvalid, arready, rvalid;
    logic [1:0]            bresp, rresp;
    logic [31:0]           rdata;
    logic                  m_arvalid, m_rready, m_awvalid, m_wvalid, m_wlast, m_bready;
    logic [31:0]           m_araddr, m_awaddr;
    logic [7:0]            m_arlen, m_awlen;
    logic [2:0]            m_arsize, m_awsize;
    logic [1:0]            m_arburst, m_awburst;
    logic [DataBits-1:0]   m_wdata;
    logic [DataBits/8-1:0] m_wstrb;
    logic                  irq;
    logic [2:0]            taken, finished;
  } outputs_t;

  localparam int unsigned Inputs = $bits(inputs_t);
  localparam int unsigned Outputs = $bits(outputs_t);
  localparam int unsigned Parts = (Outputs + 15) / 16;

  logic              rst_q;
  logic [Inputs-1:0] chain_q;
  inputs_t           in;
  outputs_t          out, out_q;
  logic [Parts-1:0]  parts_q;

  assign in = chain_q;

  always_ff @(posedge clk) begin
    rst_q   <= rst_pin;
    chain_q <= {chain_q[Inputs-2:0], serial_in};
    out_q   <= out;
    for (int unsigned i = 0; i < Parts; i++) parts_q[i] <= ^((16 * Parts)'(out_q) >> (16 * i) & (16 * Parts)'(16'hffff));
    serial_out <= ^parts_q;
  end

  npu_top u_top (
      .clk,
      .rst(rst_q),
      .s_axi_awvalid(in.awvalid),
      .s_axi_awready(out.awready),
      .s_axi_awaddr(in.awaddr),
      .s_axi_wvalid(in.wvalid),
      .s_axi_wready(out.wready),
      .s_axi_wdata(in.wdata),
      .s_axi_wstrb(in.wstrb),
      .s_axi_bvalid(out.bvalid),
      .s_axi_bready(in.bready),
      .s_axi_bresp(out.bresp),
      .s_axi_arvalid(in.arvalid),
      .s_axi_arready(out.arready),
      .s_axi_araddr(in.araddr),
      .s_axi_rvalid(out.rvalid),
      .s_axi_rready(in.rready),
      .s_axi_rdata(out.rdata),
      .s_axi_rresp(out.rresp),
      .m_axi_arvalid(out.m_arvalid),
      .m_axi_arready(in.m_arready),
      .m_axi_araddr(out.m_araddr),
      .m_axi_arlen(out.m_arlen),
      .m_axi_arsize(out.m_arsize),
      .m_axi_arburst(out.m_arburst),
      .m_axi_rvalid(in.m_rvalid),
      .m_axi_rready(out.m_rready),
      .m_axi_rdata(in.m_rdata),
      .m_axi_rresp(in.m_rresp),
      .m_axi_rlast(in.m_rlast),
      .m_axi_awvalid(out.m_awvalid),
      .m_axi_awready(in.m_awready),
      .m_axi_awaddr(out.m_awaddr),
      .m_axi_awlen(out.m_awlen),
      .m_axi_awsize(out.m_awsize),
      .m_axi_awburst(out.m_awburst),
      .m_axi_wvalid(out.m_wvalid),
      .m_axi_wready(in.m_wready),
      .m_axi_wdata(out.m_wdata),
      .m_axi_wstrb(out.m_wstrb),
      .m_axi_wlast(out.m_wlast),
      .m_axi_bvalid(in.m_bvalid),
      .m_axi_bready(out.m_bready),
      .m_axi_bresp(in.m_bresp),
      .irq(out.irq),
      .event_taken(out.taken),
      .event_finished(out.finished)
  );

endmodule
