// AXI4 read master for two clients: splits their requests into bursts that do not cross 4 KiB
// boundaries, keeps up to `MaxOutstanding` bursts in flight, and returns the beats in order.
//
// Units: addresses are bytes, beats are 8 bytes. Burst length:
//    beats = min(beats left of the request, MaxBurst, beats to the 4 KiB boundary)
// Client 0 has priority. After `stop_i` no burst is issued and the beats in flight are dropped. A
// beat is an error if it is answered with SLVERR or DECERR, or if RLAST comes early or late.
module npu_axi_read #(
  parameter int unsigned MaxBurst       = 32,
  parameter int unsigned MaxOutstanding = 16
) (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic              stop_i,
  input  logic [ 1:0]       req_valid_i,
  output logic [ 1:0]       req_ready_o,
  input  logic [ 1:0][31:0] req_address_i,
  input  logic [ 1:0][15:0] req_beats_i,
  output logic [ 1:0]       data_valid_o,
  input  logic [ 1:0]       data_ready_i,
  output logic [63:0]       data_o,
  // A beat was answered with SLVERR or DECERR, or its RLAST is wrong.
  output logic              error_o,
  output logic              error_client_o,
  output logic [31:0]       error_address_o,
  output logic              idle_o,
  // A beat was transferred.
  output logic              moved_o,
  // AXI4 read channels.
  output logic              m_axi_arvalid_o,
  input  logic              m_axi_arready_i,
  output logic [31:0]       m_axi_araddr_o,
  output logic [ 7:0]       m_axi_arlen_o,
  input  logic              m_axi_rvalid_i,
  output logic              m_axi_rready_o,
  input  logic [63:0]       m_axi_rdata_i,
  input  logic [ 1:0]       m_axi_rresp_i,
  input  logic              m_axi_rlast_i
);
  localparam int unsigned BurstBits = $clog2(MaxBurst) + 1;

  logic [1:0] active_q;
  logic [1:0][31:0] address_q;
  logic [1:0][15:0] left_q;

  // Returns the beats of a request's next burst, given its first beat's index within the 4 KiB
  // page. A page is a whole number of longest bursts, so the lower index bits tell how much the
  // page's last burst has left.
  function automatic logic [BurstBits-1:0] next_burst(input logic [8:0] page_beat,
                                                      input logic [15:0] left);
    logic [BurstBits-1:0] to_boundary, burst;
    to_boundary = BurstBits'(MaxBurst);
    if (&page_beat[8:BurstBits-1]) to_boundary -= BurstBits'(page_beat[BurstBits-2:0]);
    burst = left < 16'(MaxBurst) ? left[BurstBits-1:0] : BurstBits'(MaxBurst);
    return to_boundary < burst ? to_boundary : burst;
  endfunction

  // Each client's next burst is computed when its request arrives, or in the cycle after its
  // previous burst. `known_q` says that it is valid.
  logic client, issue;
  logic [1:0] known_q;
  logic [1:0][BurstBits-1:0] burst_q;
  logic [BurstBits-1:0] burst;
  logic ar_valid_q, room;
  logic [31:0] ar_address_q;
  logic [7:0] ar_len_q;

  assign client = !active_q[0];
  assign burst = burst_q[client];
  assign issue = known_q[client] && (!ar_valid_q || m_axi_arready_i) && room && !stop_i;

  for (genvar c = 0; c < 2; c++) begin : gen_client
    logic mine, accept;
    logic [BurstBits-1:0] burst_of_rest, burst_of_request;
    assign burst_of_rest = next_burst(address_q[c][11:3], left_q[c]);
    assign burst_of_request = next_burst(req_address_i[c][11:3], req_beats_i[c]);
    assign mine = issue && client == 1'(c);
    assign accept = req_valid_i[c] && req_ready_o[c];
    assign req_ready_o[c] = !active_q[c] && !stop_i;
    always_ff @(posedge clk_i) begin
      if (!rst_ni || stop_i) begin
        active_q[c] <= 1'b0;
      end else if (accept) begin
        active_q[c] <= 1'b1;
      end else if (mine && left_q[c] == 16'(burst_q[c])) begin
        active_q[c] <= 1'b0;
      end
    end
    always_ff @(posedge clk_i) begin
      known_q[c] <= rst_ni && !stop_i && (active_q[c] ? !mine : accept);
      burst_q[c] <= active_q[c] ? burst_of_rest : burst_of_request;
      if (accept || mine) begin
        // Only the enables depend on whether the values are used.
        address_q[c] <= active_q[c] ? address_q[c] + 32'({burst_q[c], 3'b0}) : req_address_i[c];
        left_q[c] <= active_q[c] ? left_q[c] - 16'(burst_q[c]) : req_beats_i[c];
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ar_valid_q <= 1'b0;
    end else if (!ar_valid_q || m_axi_arready_i) begin
      ar_valid_q <= issue;
    end
    if (issue) begin
      ar_address_q <= address_q[client];
      ar_len_q <= 8'(burst) - 8'd1;
    end
  end
  assign m_axi_arvalid_o = ar_valid_q;
  assign m_axi_araddr_o = ar_address_q;
  assign m_axi_arlen_o = ar_len_q;

  // Bursts in flight, in order.
  logic owner_valid, owner;
  logic [31:0] owner_address;
  logic [BurstBits-2:0] last_beat, owner_last_beat;  // beats of the burst, minus one
  logic beat, wrong_last;
  logic [7:0] beats_q;

  npu_fifo #(
    .Width(33 + BurstBits - 1),
    .Depth(MaxOutstanding)
  ) u_outstanding (
    .clk_i,
    .rst_ni,
    .push_valid_i(issue),
    .push_ready_o(room),
    .push_data_i ({last_beat, client, address_q[client]}),
    .pop_valid_o (owner_valid),
    .pop_ready_i (beat && m_axi_rlast_i),
    .pop_data_o  ({owner_last_beat, owner, owner_address}),
    .count_o     ()
  );

  assign last_beat = (BurstBits - 1)'(burst - 1'b1);

  assign m_axi_rready_o = owner_valid && (stop_i || data_ready_i[owner]);
  assign beat = m_axi_rvalid_i && m_axi_rready_o;
  assign data_o = m_axi_rdata_i;
  assign data_valid_o = m_axi_rvalid_i && owner_valid && !stop_i ? 2'b01 << owner : 2'b00;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) beats_q <= '0;
    else if (beat) beats_q <= m_axi_rlast_i ? '0 : beats_q + 1'b1;
  end

  // A memory that ends a burst early or late would shift all later data.
  assign wrong_last = m_axi_rlast_i != (beats_q == 8'(owner_last_beat));
  assign error_o = beat && (m_axi_rresp_i[1] || wrong_last) && !stop_i;
  assign error_client_o = owner;
  assign error_address_o = owner_address + 32'({beats_q, 3'b0});
  assign idle_o = !owner_valid && !ar_valid_q && active_q == '0;
  assign moved_o = beat;

  // RRESP[0] distinguishes EXOKAY, which counts as OKAY: no exclusive access is ever issued.
  logic unused;
  assign unused = m_axi_rresp_i[0];
endmodule
