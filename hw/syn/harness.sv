// The accelerator behind four pins, for place and route: every input comes from a register of one
// shift chain, every output goes to a register, and those are folded into one pin.

module npu_harness (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic serial_i,
  output logic serial_o
);

  localparam int unsigned DataBits = 8 * npu_pkg::AxiBytes;

  typedef struct packed {
    logic                awvalid,   wvalid,   bready,  arvalid,   rready;
    logic [7:0]          awaddr,    araddr;
    logic [31:0]         wdata;
    logic [3:0]          wstrb;
    logic                m_arready, m_rvalid, m_rlast, m_awready, m_wready, m_bvalid;
    logic [DataBits-1:0] m_rdata;
    logic [1:0]          m_rresp,   m_bresp;
  } inputs_t;

  typedef struct packed {
    logic                  awready,   wready,    bvalid,    arready,  rvalid;
    logic [1:0]            bresp,     rresp;
    logic [31:0]           rdata;
    logic                  m_arvalid, m_rready,  m_awvalid, m_wvalid, m_wlast, m_bready;
    logic [31:0]           m_araddr,  m_awaddr;
    logic [7:0]            m_arlen,   m_awlen;
    logic [2:0]            m_arsize,  m_awsize;
    logic [1:0]            m_arburst, m_awburst;
    logic [DataBits-1:0]   m_wdata;
    logic [DataBits/8-1:0] m_wstrb;
    logic                  irq;
    logic [2:0]            taken,     finished;
  } outputs_t;

  localparam int unsigned Inputs = $bits(inputs_t);
  localparam int unsigned Outputs = $bits(outputs_t);
  localparam int unsigned Parts = (Outputs + 15) / 16;

  logic rst_nq;
  logic [Inputs-1:0] chain_q;
  inputs_t in;
  outputs_t out, out_q;
  logic [Parts-1:0] parts_q;

  assign in = chain_q;

  always_ff @(posedge clk_i) begin
    rst_nq <= rst_ni;
    chain_q <= {chain_q[Inputs-2:0], serial_i};
    out_q <= out;
    for (int unsigned i = 0; i < Parts; i++)
    parts_q[i] <= ^((16 * Parts)'(out_q) >> (16 * i) & (16 * Parts)'(16'hffff));
    serial_o <= ^parts_q;
  end

  npu_top u_top (
    .clk_i,
    .rst_ni          (rst_nq),
    .s_axi_awvalid_i (in.awvalid),
    .s_axi_awready_o (out.awready),
    .s_axi_awaddr_i  (in.awaddr),
    .s_axi_wvalid_i  (in.wvalid),
    .s_axi_wready_o  (out.wready),
    .s_axi_wdata_i   (in.wdata),
    .s_axi_wstrb_i   (in.wstrb),
    .s_axi_bvalid_o  (out.bvalid),
    .s_axi_bready_i  (in.bready),
    .s_axi_bresp_o   (out.bresp),
    .s_axi_arvalid_i (in.arvalid),
    .s_axi_arready_o (out.arready),
    .s_axi_araddr_i  (in.araddr),
    .s_axi_rvalid_o  (out.rvalid),
    .s_axi_rready_i  (in.rready),
    .s_axi_rdata_o   (out.rdata),
    .s_axi_rresp_o   (out.rresp),
    .m_axi_arvalid_o (out.m_arvalid),
    .m_axi_arready_i (in.m_arready),
    .m_axi_araddr_o  (out.m_araddr),
    .m_axi_arlen_o   (out.m_arlen),
    .m_axi_arsize_o  (out.m_arsize),
    .m_axi_arburst_o (out.m_arburst),
    .m_axi_rvalid_i  (in.m_rvalid),
    .m_axi_rready_o  (out.m_rready),
    .m_axi_rdata_i   (in.m_rdata),
    .m_axi_rresp_i   (in.m_rresp),
    .m_axi_rlast_i   (in.m_rlast),
    .m_axi_awvalid_o (out.m_awvalid),
    .m_axi_awready_i (in.m_awready),
    .m_axi_awaddr_o  (out.m_awaddr),
    .m_axi_awlen_o   (out.m_awlen),
    .m_axi_awsize_o  (out.m_awsize),
    .m_axi_awburst_o (out.m_awburst),
    .m_axi_wvalid_o  (out.m_wvalid),
    .m_axi_wready_i  (in.m_wready),
    .m_axi_wdata_o   (out.m_wdata),
    .m_axi_wstrb_o   (out.m_wstrb),
    .m_axi_wlast_o   (out.m_wlast),
    .m_axi_bvalid_i  (in.m_bvalid),
    .m_axi_bready_o  (out.m_bready),
    .m_axi_bresp_i   (in.m_bresp),
    .irq_o           (out.irq),
    .event_taken_o   (out.taken),
    .event_finished_o(out.finished)
  );

endmodule
