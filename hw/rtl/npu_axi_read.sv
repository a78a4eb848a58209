// AXI4 read master for two clients: splits their requests into bursts that respect 4 KiB
// boundaries, keeps several under way, hands the beats out in order.
//
// Client 0 goes first. After `stop` no burst is issued and beats under way are dropped.
module npu_axi_read #(
  parameter int unsigned MaxBurst = 32,
  parameter int unsigned MaxOutstanding = 16
) (
  input  logic             clk,
  input  logic             rst,
  input  logic             stop,
  input  logic [1:0]       req_valid,
  output logic [1:0]       req_ready,
  input  logic [1:0][31:0] req_address,
  input  logic [1:0][15:0] req_beats,
  output logic [1:0]       data_valid,
  input  logic [1:0]       data_ready,
  output logic [63:0]      data,
  // A beat was answered with an error.
  output logic             error,
  output logic             error_client,
  output logic [31:0]      error_address,
  output logic             idle,
  // A beat was taken.
  output logic             moved,
  // AXI4
  output logic             m_axi_arvalid,
  input  logic             m_axi_arready,
  output logic [31:0]      m_axi_araddr,
  output logic [7:0]       m_axi_arlen,
  input  logic             m_axi_rvalid,
  output logic             m_axi_rready,
  input  logic [63:0]      m_axi_rdata,
  input  logic [1:0]       m_axi_rresp,
  input  logic             m_axi_rlast
);
  localparam int unsigned BurstBits = $clog2(MaxBurst) + 1;

  logic [1:0]       active_q;
  logic [1:0][31:0] address_q;
  logic [1:0][15:0] left_q;

  // Beats of a request's next burst, from the beat within the page where it begins. A page is a whole number
  // of the longest bursts, so what its last one leaves is known from the lower bits.
  function automatic logic [BurstBits-1:0] next_burst(input logic [8:0] place, input logic [15:0] left);
    logic [BurstBits-1:0] to_boundary, burst;
    to_boundary = BurstBits'(MaxBurst);
    if (&place[8:BurstBits-1]) to_boundary -= BurstBits'(place[BurstBits-2:0]);
    burst = left < 16'(MaxBurst) ? left[BurstBits-1:0] : BurstBits'(MaxBurst);
    return to_boundary < burst ? to_boundary : burst;
  endfunction

  // The burst that is next; that of each client is worked out as its request comes, or in the cycle after the
  // burst before: known then.
  logic                      client, issue;
  logic [1:0]                known_q;
  logic [1:0][BurstBits-1:0] burst_q;
  logic [BurstBits-1:0]      burst;
  logic                      ar_valid_q, room;
  logic [31:0]               ar_address_q;
  logic [7:0]                ar_len_q;

  assign client = !active_q[0];
  assign burst  = burst_q[client];
  assign issue  = known_q[client] && (!ar_valid_q || m_axi_arready) && room && !stop;

  for (genvar c = 0; c < 2; c++) begin : g_client
    logic mine, accept;
    assign mine   = issue && client == 1'(c);
    assign accept = req_valid[c] && req_ready[c];
    assign req_ready[c] = !active_q[c] && !stop;
    always_ff @(posedge clk) begin
      if (rst || stop) begin
        active_q[c] <= 1'b0;
      end else if (accept) begin
        active_q[c] <= 1'b1;
      end else if (mine && left_q[c] == 16'(burst_q[c])) begin
        active_q[c] <= 1'b0;
      end
    end
    always_ff @(posedge clk) begin
      known_q[c] <= !rst && !stop && (active_q[c] ? !mine : accept);
      burst_q[c] <= active_q[c] ? next_burst(address_q[c][11:3], left_q[c])
                                : next_burst(req_address[c][11:3], req_beats[c]);
      if (accept || mine) begin
        // Whether anything is taken over is for enables alone.
        address_q[c] <= active_q[c] ? address_q[c] + 32'({burst_q[c], 3'b0}) : req_address[c];
        left_q[c]    <= active_q[c] ? left_q[c] - 16'(burst_q[c]) : req_beats[c];
      end
    end
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      ar_valid_q <= 1'b0;
    end else if (!ar_valid_q || m_axi_arready) begin
      ar_valid_q <= issue;
    end
    if (issue) begin
      ar_address_q <= address_q[client];
      ar_len_q     <= 8'(burst) - 8'd1;
    end
  end
  assign m_axi_arvalid = ar_valid_q;
  assign m_axi_araddr  = ar_address_q;
  assign m_axi_arlen   = ar_len_q;

  // Bursts under way, in order.
  logic        owner_valid, owner;
  logic [31:0] owner_address;
  logic        beat;
  logic [7:0]  beats_q;

  npu_fifo #(.Width(33), .Depth(MaxOutstanding)) u_outstanding (
    .clk, .rst,
    .push_valid(issue), .push_ready(room), .push_data({client, address_q[client]}),
    .pop_valid(owner_valid), .pop_ready(beat && m_axi_rlast), .pop_data({owner, owner_address}),
    .count()
  );

  assign m_axi_rready = owner_valid && (stop || data_ready[owner]);
  assign beat         = m_axi_rvalid && m_axi_rready;
  assign data         = m_axi_rdata;
  assign data_valid   = m_axi_rvalid && owner_valid && !stop ? 2'b01 << owner : 2'b00;

  always_ff @(posedge clk) begin
    if (rst) beats_q <= '0;
    else if (beat) beats_q <= m_axi_rlast ? '0 : beats_q + 1'b1;
  end

  assign error         = beat && m_axi_rresp[1] && !stop;
  assign error_client  = owner;
  assign error_address = owner_address + 32'({beats_q, 3'b0});
  assign idle          = !owner_valid && !ar_valid_q && active_q == '0;
  assign moved         = beat;

  // The response's lower bit tells exclusive accesses, which there are none of.
  logic unused;
  assign unused = m_axi_rresp[0];
endmodule
