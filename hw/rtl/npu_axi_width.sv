// Adapts the 8-byte beats of the bus engines (`s_`) to the width of the data bus at the pins
// (`m_`).
//
// 4 bytes: one engine beat is two pin beats, the lower half first; an error of either half is the
// beat's error. 8 bytes: wires. 16 bytes: two neighbouring engine beats are one pin beat. Every
// burst starts at a multiple of 16 bytes and may leave out its first and its last half. A read beat
// stays on the pins until both halves have been taken, which costs no cycles: the engines take at
// most 8 bytes per cycle.
module npu_axi_width #(
  parameter int unsigned Bytes    = npu_pkg::AxiBytes,
  // Read bursts that the engine keeps in flight.
  parameter int unsigned MaxReads = 16
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  // Engine side. The address of a write burst is stable until its last beat has been taken.
  input  logic               s_axi_arvalid_i,
  output logic               s_axi_arready_o,
  input  logic [       31:0] s_axi_araddr_i,
  input  logic [        7:0] s_axi_arlen_i,
  output logic               s_axi_rvalid_o,
  input  logic               s_axi_rready_i,
  output logic [       63:0] s_axi_rdata_o,
  output logic [        1:0] s_axi_rresp_o,
  output logic               s_axi_rlast_o,
  input  logic               s_axi_awvalid_i,
  output logic               s_axi_awready_o,
  input  logic [       31:0] s_axi_awaddr_i,
  input  logic [        7:0] s_axi_awlen_i,
  input  logic               s_axi_wvalid_i,
  output logic               s_axi_wready_o,
  input  logic [       63:0] s_axi_wdata_i,
  input  logic               s_axi_wlast_i,
  // Pin side.
  output logic               m_axi_arvalid_o,
  input  logic               m_axi_arready_i,
  output logic [       31:0] m_axi_araddr_o,
  output logic [        7:0] m_axi_arlen_o,
  output logic [        2:0] m_axi_arsize_o,
  input  logic               m_axi_rvalid_i,
  output logic               m_axi_rready_o,
  input  logic [8*Bytes-1:0] m_axi_rdata_i,
  input  logic [        1:0] m_axi_rresp_i,
  input  logic               m_axi_rlast_i,
  output logic               m_axi_awvalid_o,
  input  logic               m_axi_awready_i,
  output logic [       31:0] m_axi_awaddr_o,
  output logic [        7:0] m_axi_awlen_o,
  output logic [        2:0] m_axi_awsize_o,
  output logic               m_axi_wvalid_o,
  input  logic               m_axi_wready_i,
  output logic [8*Bytes-1:0] m_axi_wdata_o,
  output logic [  Bytes-1:0] m_axi_wstrb_o,
  output logic               m_axi_wlast_o
);
  assign m_axi_arvalid_o = s_axi_arvalid_i;
  assign s_axi_arready_o = m_axi_arready_i;
  assign m_axi_arsize_o = 3'($clog2(Bytes));
  assign m_axi_awvalid_o = s_axi_awvalid_i;
  assign s_axi_awready_o = m_axi_awready_i;
  assign m_axi_awsize_o = 3'($clog2(Bytes));

  if (Bytes == 4) begin : gen_narrow
    assign m_axi_araddr_o = s_axi_araddr_i;
    assign m_axi_arlen_o = {s_axi_arlen_i[6:0], 1'b1};
    assign m_axi_awaddr_o = s_axi_awaddr_i;
    assign m_axi_awlen_o = {s_axi_awlen_i[6:0], 1'b1};

    // Reads: the lower half is held until the upper half arrives.
    logic upper_q;
    logic [31:0] lower_q;
    logic [1:0] lower_resp_q;
    assign s_axi_rvalid_o = m_axi_rvalid_i && (upper_q || m_axi_rlast_i);
    assign m_axi_rready_o = s_axi_rready_i;
    assign s_axi_rdata_o = {m_axi_rdata_i, lower_q};
    // A burst that ends with a lower half lacks a beat.
    assign s_axi_rresp_o = m_axi_rresp_i | lower_resp_q | {m_axi_rlast_i && !upper_q, 1'b0};
    assign s_axi_rlast_o = m_axi_rlast_i;
    always_ff @(posedge clk_i) begin
      if (!rst_ni) upper_q <= 1'b0;
      else if (m_axi_rvalid_i && m_axi_rready_o) upper_q <= !upper_q && !m_axi_rlast_i;
      if (m_axi_rvalid_i && !upper_q) begin
        lower_q <= m_axi_rdata_i;
        lower_resp_q <= m_axi_rresp_i;
      end
    end

    // Writes.
    logic second_q;
    assign m_axi_wvalid_o = s_axi_wvalid_i;
    assign s_axi_wready_o = m_axi_wready_i && second_q;
    assign m_axi_wdata_o = second_q ? s_axi_wdata_i[63:32] : s_axi_wdata_i[31:0];
    assign m_axi_wstrb_o = '1;
    assign m_axi_wlast_o = s_axi_wlast_i && second_q;
    always_ff @(posedge clk_i) begin
      if (!rst_ni) second_q <= 1'b0;
      else if (m_axi_wvalid_o && m_axi_wready_i) second_q <= !second_q;
    end

    logic unused;
    assign unused = s_axi_arlen_i[7] | s_axi_awlen_i[7];
  end else if (Bytes == 8) begin : gen_same
    assign m_axi_araddr_o = s_axi_araddr_i;
    assign m_axi_arlen_o = s_axi_arlen_i;
    assign s_axi_rvalid_o = m_axi_rvalid_i;
    assign m_axi_rready_o = s_axi_rready_i;
    assign s_axi_rdata_o = m_axi_rdata_i;
    assign s_axi_rresp_o = m_axi_rresp_i;
    assign s_axi_rlast_o = m_axi_rlast_i;
    assign m_axi_awaddr_o = s_axi_awaddr_i;
    assign m_axi_awlen_o = s_axi_awlen_i;
    assign m_axi_wvalid_o = s_axi_wvalid_i;
    assign s_axi_wready_o = m_axi_wready_i;
    assign m_axi_wdata_o = s_axi_wdata_i;
    assign m_axi_wstrb_o = '1;
    assign m_axi_wlast_o = s_axi_wlast_i;

    logic unused;
    assign unused = clk_i | rst_ni;
  end else if (Bytes == 16) begin : gen_wide
    assign m_axi_araddr_o = {s_axi_araddr_i[31:4], 4'b0};
    assign m_axi_arlen_o = 8'((9'(s_axi_arlen_i) + 9'(s_axi_araddr_i[3])) >> 1);
    assign m_axi_awaddr_o = {s_axi_awaddr_i[31:4], 4'b0};
    assign m_axi_awlen_o = 8'((9'(s_axi_awlen_i) + 9'(s_axi_awaddr_i[3])) >> 1);

    // Engine addresses are multiples of 8.
    logic unused;
    assign unused = |s_axi_araddr_i[2:0] | |s_axi_awaddr_i[2:0];

    // Reads: for each burst in flight, the half that it starts with and the half that it ends with.
    logic first, last, upper, begun_q, upper_q;
    npu_fifo #(
      .Width(2),
      .Depth(MaxReads)
    ) u_reads (
      .clk_i,
      .rst_ni,
      .push_valid_i(s_axi_arvalid_i && s_axi_arready_o),
      .push_ready_o(),
      .push_data_i ({s_axi_araddr_i[3], s_axi_araddr_i[3] ^ s_axi_arlen_i[0]}),
      .pop_valid_o (),
      .pop_ready_i (s_axi_rvalid_o && s_axi_rready_i && s_axi_rlast_o),
      .pop_data_o  ({first, last}),
      .count_o     ()
    );
    assign upper = begun_q ? upper_q : first;
    assign s_axi_rvalid_o = m_axi_rvalid_i;
    assign s_axi_rdata_o = upper ? m_axi_rdata_i[127:64] : m_axi_rdata_i[63:0];
    assign s_axi_rresp_o = m_axi_rresp_i;
    // A burst that the memory ends early may end with either half: RLAST is never swallowed.
    assign s_axi_rlast_o = m_axi_rlast_i && (upper || !last);
    assign m_axi_rready_o = s_axi_rready_i && (upper || s_axi_rlast_o);
    always_ff @(posedge clk_i) begin
      if (!rst_ni) begun_q <= 1'b0;
      else if (s_axi_rvalid_o && s_axi_rready_i) begun_q <= !s_axi_rlast_o;
      if (s_axi_rvalid_o && s_axi_rready_i) upper_q <= !upper;
    end

    // Writes: the lower half is held until the upper half arrives, unless it is the burst's last
    // beat.
    logic second, whole, sent_q, second_q;
    logic [63:0] lower_q;
    assign second = sent_q ? second_q : s_axi_awaddr_i[3];
    assign whole = second || s_axi_wlast_i;
    assign m_axi_wvalid_o = s_axi_wvalid_i && whole;
    assign s_axi_wready_o = m_axi_wready_i || !whole;
    assign m_axi_wdata_o = {s_axi_wdata_i, second ? lower_q : s_axi_wdata_i};
    assign m_axi_wstrb_o = {{8{second}}, {8{sent_q || !second}}};
    assign m_axi_wlast_o = s_axi_wlast_i;
    always_ff @(posedge clk_i) begin
      if (!rst_ni) sent_q <= 1'b0;
      else if (s_axi_wvalid_i && s_axi_wready_o) sent_q <= !s_axi_wlast_i;
      if (s_axi_wvalid_i && s_axi_wready_o) begin
        second_q <= !second;
        lower_q <= s_axi_wdata_i;
      end
    end
  end else begin : gen_none
    $error("the data bus has 4, 8 or 16 bytes");
  end
endmodule
