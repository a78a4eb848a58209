// Width of the data bus at the pins (`m_`); the bus engines' beats (`s_`) have 8 bytes.
//
// 4 bytes: a beat is two at the pins, the lower half first, and an error of either is the beat's.
// 16 bytes: neighbouring beats are one at the pins, where every burst begins at a multiple of 16 bytes and
// may leave out the first half and the last. A beat read stays on the pins until both halves have been
// taken, which costs nothing: the engines take no more than 8 bytes a cycle.
module npu_axi_width #(
  parameter int unsigned Bytes = npu_pkg::AxiBytes,
  // Read bursts that the engine has under way.
  parameter int unsigned MaxReads = 16
) (
  input  logic               clk,
  input  logic               rst,
  // Engines. The address of a write burst stays until its last beat has been taken.
  input  logic               s_axi_arvalid,
  output logic               s_axi_arready,
  input  logic [31:0]        s_axi_araddr,
  input  logic [7:0]         s_axi_arlen,
  output logic               s_axi_rvalid,
  input  logic               s_axi_rready,
  output logic [63:0]        s_axi_rdata,
  output logic [1:0]         s_axi_rresp,
  output logic               s_axi_rlast,
  input  logic               s_axi_awvalid,
  output logic               s_axi_awready,
  input  logic [31:0]        s_axi_awaddr,
  input  logic [7:0]         s_axi_awlen,
  input  logic               s_axi_wvalid,
  output logic               s_axi_wready,
  input  logic [63:0]        s_axi_wdata,
  input  logic               s_axi_wlast,
  // Pins.
  output logic               m_axi_arvalid,
  input  logic               m_axi_arready,
  output logic [31:0]        m_axi_araddr,
  output logic [7:0]         m_axi_arlen,
  output logic [2:0]         m_axi_arsize,
  input  logic               m_axi_rvalid,
  output logic               m_axi_rready,
  input  logic [8*Bytes-1:0] m_axi_rdata,
  input  logic [1:0]         m_axi_rresp,
  input  logic               m_axi_rlast,
  output logic               m_axi_awvalid,
  input  logic               m_axi_awready,
  output logic [31:0]        m_axi_awaddr,
  output logic [7:0]         m_axi_awlen,
  output logic [2:0]         m_axi_awsize,
  output logic               m_axi_wvalid,
  input  logic               m_axi_wready,
  output logic [8*Bytes-1:0] m_axi_wdata,
  output logic [Bytes-1:0]   m_axi_wstrb,
  output logic               m_axi_wlast
);
  assign m_axi_arvalid = s_axi_arvalid;
  assign s_axi_arready = m_axi_arready;
  assign m_axi_arsize  = 3'($clog2(Bytes));
  assign m_axi_awvalid = s_axi_awvalid;
  assign s_axi_awready = m_axi_awready;
  assign m_axi_awsize  = 3'($clog2(Bytes));

  if (Bytes == 4) begin : g_narrow
    assign m_axi_araddr = s_axi_araddr;
    assign m_axi_arlen  = {s_axi_arlen[6:0], 1'b1};
    assign m_axi_awaddr = s_axi_awaddr;
    assign m_axi_awlen  = {s_axi_awlen[6:0], 1'b1};

    // Reads: the lower half waits for the upper one.
    logic        upper_q;
    logic [31:0] lower_q;
    logic [1:0]  lower_resp_q;
    assign s_axi_rvalid = m_axi_rvalid && upper_q;
    assign m_axi_rready = s_axi_rready;
    assign s_axi_rdata  = {m_axi_rdata, lower_q};
    assign s_axi_rresp  = m_axi_rresp | lower_resp_q;
    assign s_axi_rlast  = m_axi_rlast;
    always_ff @(posedge clk) begin
      if (rst) upper_q <= 1'b0;
      else if (m_axi_rvalid && m_axi_rready) upper_q <= !upper_q;
      if (m_axi_rvalid && !upper_q) begin
        lower_q      <= m_axi_rdata;
        lower_resp_q <= m_axi_rresp;
      end
    end

    // Writes.
    logic second_q;
    assign m_axi_wvalid = s_axi_wvalid;
    assign s_axi_wready = m_axi_wready && second_q;
    assign m_axi_wdata  = second_q ? s_axi_wdata[63:32] : s_axi_wdata[31:0];
    assign m_axi_wstrb  = '1;
    assign m_axi_wlast  = s_axi_wlast && second_q;
    always_ff @(posedge clk) begin
      if (rst) second_q <= 1'b0;
      else if (m_axi_wvalid && m_axi_wready) second_q <= !second_q;
    end

    logic unused;
    assign unused = s_axi_arlen[7] | s_axi_awlen[7];
  end else if (Bytes == 8) begin : g_same
    assign m_axi_araddr = s_axi_araddr;
    assign m_axi_arlen  = s_axi_arlen;
    assign s_axi_rvalid = m_axi_rvalid;
    assign m_axi_rready = s_axi_rready;
    assign s_axi_rdata  = m_axi_rdata;
    assign s_axi_rresp  = m_axi_rresp;
    assign s_axi_rlast  = m_axi_rlast;
    assign m_axi_awaddr = s_axi_awaddr;
    assign m_axi_awlen  = s_axi_awlen;
    assign m_axi_wvalid = s_axi_wvalid;
    assign s_axi_wready = m_axi_wready;
    assign m_axi_wdata  = s_axi_wdata;
    assign m_axi_wstrb  = '1;
    assign m_axi_wlast  = s_axi_wlast;

    logic unused;
    assign unused = clk | rst;
  end else if (Bytes == 16) begin : g_wide
    assign m_axi_araddr = {s_axi_araddr[31:4], 4'b0};
    assign m_axi_arlen  = 8'((9'(s_axi_arlen) + 9'(s_axi_araddr[3])) >> 1);
    assign m_axi_awaddr = {s_axi_awaddr[31:4], 4'b0};
    assign m_axi_awlen  = 8'((9'(s_axi_awlen) + 9'(s_axi_awaddr[3])) >> 1);

    // The engines' addresses are multiples of 8.
    logic unused;
    assign unused = |s_axi_araddr[2:0] | |s_axi_awaddr[2:0];

    // Reads: by burst under way, the half that it begins with and the one that it ends with.
    logic first, last, upper, begun_q, upper_q;
    npu_fifo #(.Width(2), .Depth(MaxReads)) u_reads (
      .clk, .rst,
      .push_valid(s_axi_arvalid && s_axi_arready), .push_ready(),
      .push_data({s_axi_araddr[3], s_axi_araddr[3] ^ s_axi_arlen[0]}),
      .pop_valid(), .pop_ready(s_axi_rvalid && s_axi_rready && s_axi_rlast), .pop_data({first, last}),
      .count()
    );
    assign upper        = begun_q ? upper_q : first;
    assign s_axi_rvalid = m_axi_rvalid;
    assign s_axi_rdata  = upper ? m_axi_rdata[127:64] : m_axi_rdata[63:0];
    assign s_axi_rresp  = m_axi_rresp;
    assign s_axi_rlast  = m_axi_rlast && upper == last;
    assign m_axi_rready = s_axi_rready && (upper || s_axi_rlast);
    always_ff @(posedge clk) begin
      if (rst) begun_q <= 1'b0;
      else if (s_axi_rvalid && s_axi_rready) begun_q <= !s_axi_rlast;
      if (s_axi_rvalid && s_axi_rready) upper_q <= !upper;
    end

    // Writes: the lower half waits for the upper one, unless it is the burst's last.
    logic        second, whole, sent_q, second_q;
    logic [63:0] lower_q;
    assign second       = sent_q ? second_q : s_axi_awaddr[3];
    assign whole        = second || s_axi_wlast;
    assign m_axi_wvalid = s_axi_wvalid && whole;
    assign s_axi_wready = m_axi_wready || !whole;
    assign m_axi_wdata  = {s_axi_wdata, second ? lower_q : s_axi_wdata};
    assign m_axi_wstrb  = {{8{second}}, {8{sent_q || !second}}};
    assign m_axi_wlast  = s_axi_wlast;
    always_ff @(posedge clk) begin
      if (rst) sent_q <= 1'b0;
      else if (s_axi_wvalid && s_axi_wready) sent_q <= !s_axi_wlast;
      if (s_axi_wvalid && s_axi_wready) begin
        second_q <= !second;
        lower_q  <= s_axi_wdata;
      end
    end
  end else begin : g_none
    $error("the data bus has 4, 8 or 16 bytes");
  end
endmodule
