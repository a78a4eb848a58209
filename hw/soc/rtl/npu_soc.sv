// The accelerator with its way to LiteDRAM: what the system around it instantiates.
module npu_soc #(
  parameter logic [31:0] MemoryBase = 32'h4000_0000,
  parameter logic [31:0] MemorySize = 32'h0200_0000
) (
  input  logic                           clk_i,
  input  logic                           rst_i,
  // AXI4-Lite control.
  input  logic                           s_axi_awvalid_i,
  output logic                           s_axi_awready_o,
  input  logic [                    7:0] s_axi_awaddr_i,
  input  logic                           s_axi_wvalid_i,
  output logic                           s_axi_wready_o,
  input  logic [                   31:0] s_axi_wdata_i,
  input  logic [                    3:0] s_axi_wstrb_i,
  output logic                           s_axi_bvalid_o,
  input  logic                           s_axi_bready_i,
  output logic [                    1:0] s_axi_bresp_o,
  input  logic                           s_axi_arvalid_i,
  output logic                           s_axi_arready_o,
  input  logic [                    7:0] s_axi_araddr_i,
  output logic                           s_axi_rvalid_o,
  input  logic                           s_axi_rready_i,
  output logic [                   31:0] s_axi_rdata_o,
  output logic [                    1:0] s_axi_rresp_o,
  // LiteDRAM's port.
  output logic                           cmd_valid_o,
  input  logic                           cmd_ready_i,
  output logic                           cmd_we_o,
  output logic [                   31:0] cmd_addr_o,
  input  logic                           wdata_ready_i,
  output logic [8*npu_pkg::AxiBytes-1:0] wdata_o,
  output logic [  npu_pkg::AxiBytes-1:0] wdata_we_o,
  input  logic                           rdata_valid_i,
  input  logic [8*npu_pkg::AxiBytes-1:0] rdata_i,
  output logic                           irq_o
);
  logic rst_n, arvalid, arready, rvalid, rready, rlast, awvalid, awready, wvalid, wready, wlast;
  logic bvalid, bready;
  logic [31:0] araddr, awaddr;
  logic [7:0] arlen, awlen;
  logic [1:0] rresp, bresp;
  logic [8*npu_pkg::AxiBytes-1:0] rdata, wdata;
  logic [npu_pkg::AxiBytes-1:0] wstrb;
  assign rst_n = !rst_i;

  npu_top u_npu (
    .clk_i,
    .rst_ni          (rst_n),
    .s_axi_awvalid_i,
    .s_axi_awready_o,
    .s_axi_awaddr_i,
    .s_axi_wvalid_i,
    .s_axi_wready_o,
    .s_axi_wdata_i,
    .s_axi_wstrb_i,
    .s_axi_bvalid_o,
    .s_axi_bready_i,
    .s_axi_bresp_o,
    .s_axi_arvalid_i,
    .s_axi_arready_o,
    .s_axi_araddr_i,
    .s_axi_rvalid_o,
    .s_axi_rready_i,
    .s_axi_rdata_o,
    .s_axi_rresp_o,
    .m_axi_arvalid_o (arvalid),
    .m_axi_arready_i (arready),
    .m_axi_araddr_o  (araddr),
    .m_axi_arlen_o   (arlen),
    .m_axi_arsize_o  (),
    .m_axi_arburst_o (),
    .m_axi_rvalid_i  (rvalid),
    .m_axi_rready_o  (rready),
    .m_axi_rdata_i   (rdata),
    .m_axi_rresp_i   (rresp),
    .m_axi_rlast_i   (rlast),
    .m_axi_awvalid_o (awvalid),
    .m_axi_awready_i (awready),
    .m_axi_awaddr_o  (awaddr),
    .m_axi_awlen_o   (awlen),
    .m_axi_awsize_o  (),
    .m_axi_awburst_o (),
    .m_axi_wvalid_o  (wvalid),
    .m_axi_wready_i  (wready),
    .m_axi_wdata_o   (wdata),
    .m_axi_wstrb_o   (wstrb),
    .m_axi_wlast_o   (wlast),
    .m_axi_bvalid_i  (bvalid),
    .m_axi_bready_o  (bready),
    .m_axi_bresp_i   (bresp),
    .irq_o,
    .event_taken_o   (),
    .event_finished_o()
  );

  npu_dram_bridge #(
    .Bytes(npu_pkg::AxiBytes),
    .Base (MemoryBase),
    .Size (MemorySize)
  ) u_bridge (
    .clk_i,
    .rst_ni         (rst_n),
    .s_axi_arvalid_i(arvalid),
    .s_axi_arready_o(arready),
    .s_axi_araddr_i (araddr),
    .s_axi_arlen_i  (arlen),
    .s_axi_rvalid_o (rvalid),
    .s_axi_rready_i (rready),
    .s_axi_rdata_o  (rdata),
    .s_axi_rresp_o  (rresp),
    .s_axi_rlast_o  (rlast),
    .s_axi_awvalid_i(awvalid),
    .s_axi_awready_o(awready),
    .s_axi_awaddr_i (awaddr),
    .s_axi_awlen_i  (awlen),
    .s_axi_wvalid_i (wvalid),
    .s_axi_wready_o (wready),
    .s_axi_wdata_i  (wdata),
    .s_axi_wstrb_i  (wstrb),
    .s_axi_wlast_i  (wlast),
    .s_axi_bvalid_o (bvalid),
    .s_axi_bready_i (bready),
    .s_axi_bresp_o  (bresp),
    .cmd_valid_o,
    .cmd_ready_i,
    .cmd_we_o,
    .cmd_addr_o,
    .wdata_ready_i,
    .wdata_o,
    .wdata_we_o,
    .rdata_valid_i,
    .rdata_i
  );
endmodule
