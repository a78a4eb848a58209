// Self-checking test bench of one frame: reads memory images, compares the outputs, prints PASS or
// the first mismatch, and the cycle count. npu_tb_pkg.sv holds what differs between networks.
//
// The memory answers as the one of `secateur sim` does: a fixed latency, and a fixed number of
// beats per hundred cycles.
`timescale 1ns / 1ps

module npu_tb;
  localparam int unsigned Latency = 40;
  localparam int unsigned Efficiency = 70;
  localparam int unsigned Bursts = 64;
  // Bytes of a beat.
  localparam int unsigned Beat = npu_pkg::AxiBytes;
  localparam int unsigned BeatBits = $clog2(Beat);
  // Cycles after which a frame counts as hung.
  localparam longint unsigned Limit = 20 * longint'(npu_tb_pkg::PredictedCycles) + 1_000_000;

  logic clk = 1'b0;
  logic rst_n = 1'b0;
  always #5 clk = !clk;

  logic s_axi_awvalid = 1'b0, s_axi_awready, s_axi_wvalid = 1'b0, s_axi_wready;
  logic [7:0] s_axi_awaddr = '0, s_axi_araddr = '0;
  logic [31:0] s_axi_wdata = '0, s_axi_rdata;
  logic s_axi_bvalid, s_axi_bready = 1'b0, s_axi_arvalid = 1'b0, s_axi_arready;
  logic s_axi_rvalid, s_axi_rready = 1'b0;
  logic [1:0] s_axi_bresp, s_axi_rresp;
  logic m_axi_arvalid, m_axi_arready = 1'b0, m_axi_rvalid = 1'b0, m_axi_rready, m_axi_rlast = 1'b0;
  logic [31:0] m_axi_araddr, m_axi_awaddr;
  logic [7:0] m_axi_arlen, m_axi_awlen;
  logic [Beat-1:0] m_axi_wstrb;
  logic [2:0] m_axi_arsize, m_axi_awsize, event_taken, event_finished;
  logic [1:0] m_axi_arburst, m_axi_awburst, m_axi_rresp = '0, m_axi_bresp = '0;
  logic [8*Beat-1:0] m_axi_rdata = '0, m_axi_wdata;
  logic m_axi_awvalid, m_axi_awready = 1'b0, m_axi_wvalid, m_axi_wready = 1'b0, m_axi_wlast;
  logic m_axi_bvalid = 1'b0, m_axi_bready, irq;

  npu_top u_top (
    .s_axi_wstrb_i   (4'hf),
    .clk_i           (clk),
    .rst_ni          (rst_n),
    .s_axi_awvalid_i (s_axi_awvalid),
    .s_axi_awready_o (s_axi_awready),
    .s_axi_awaddr_i  (s_axi_awaddr),
    .s_axi_wvalid_i  (s_axi_wvalid),
    .s_axi_wready_o  (s_axi_wready),
    .s_axi_wdata_i   (s_axi_wdata),
    .s_axi_bvalid_o  (s_axi_bvalid),
    .s_axi_bready_i  (s_axi_bready),
    .s_axi_bresp_o   (s_axi_bresp),
    .s_axi_arvalid_i (s_axi_arvalid),
    .s_axi_arready_o (s_axi_arready),
    .s_axi_araddr_i  (s_axi_araddr),
    .s_axi_rvalid_o  (s_axi_rvalid),
    .s_axi_rready_i  (s_axi_rready),
    .s_axi_rdata_o   (s_axi_rdata),
    .s_axi_rresp_o   (s_axi_rresp),
    .m_axi_arvalid_o (m_axi_arvalid),
    .m_axi_arready_i (m_axi_arready),
    .m_axi_araddr_o  (m_axi_araddr),
    .m_axi_arlen_o   (m_axi_arlen),
    .m_axi_arsize_o  (m_axi_arsize),
    .m_axi_arburst_o (m_axi_arburst),
    .m_axi_rvalid_i  (m_axi_rvalid),
    .m_axi_rready_o  (m_axi_rready),
    .m_axi_rdata_i   (m_axi_rdata),
    .m_axi_rresp_i   (m_axi_rresp),
    .m_axi_rlast_i   (m_axi_rlast),
    .m_axi_awvalid_o (m_axi_awvalid),
    .m_axi_awready_i (m_axi_awready),
    .m_axi_awaddr_o  (m_axi_awaddr),
    .m_axi_awlen_o   (m_axi_awlen),
    .m_axi_awsize_o  (m_axi_awsize),
    .m_axi_awburst_o (m_axi_awburst),
    .m_axi_wvalid_o  (m_axi_wvalid),
    .m_axi_wready_i  (m_axi_wready),
    .m_axi_wdata_o   (m_axi_wdata),
    .m_axi_wstrb_o   (m_axi_wstrb),
    .m_axi_wlast_o   (m_axi_wlast),
    .m_axi_bvalid_i  (m_axi_bvalid),
    .m_axi_bready_o  (m_axi_bready),
    .m_axi_bresp_i   (m_axi_bresp),
    .irq_o           (irq),
    .event_taken_o   (event_taken),
    .event_finished_o(event_finished)
  );

  // Memory, in words of a beat.
  logic [8*Beat-1:0] memory[npu_tb_pkg::MemoryWords];
  logic [7:0] expected[npu_tb_pkg::ExpectedBytes];
  initial begin
    $readmemh("memory.hex", memory);
    $readmemh("expected.hex", expected);
  end

  typedef struct packed {
    logic [31:0] address;
    logic [8:0]  beats;
    logic [63:0] ready;
  } burst_t;

  burst_t reads[Bursts];
  burst_t writes[Bursts];
  burst_t answers[Bursts];
  int unsigned
      reads_in = 0, reads_out = 0, writes_in = 0, writes_out = 0, answers_in = 0, answers_out = 0;
  int unsigned credit = 0;
  longint unsigned cycle = 0;
  bit read_pending = 1'b0;
  int unsigned strays = 0;

  function automatic int unsigned index(logic [31:0] address);
    return (address - npu_tb_pkg::MemoryBase) >> BeatBits;
  endfunction

  always @(posedge clk) begin
    // Transfers of the cycle that ends here.
    if (m_axi_rvalid && m_axi_rready) read_pending = 1'b0;
    if (m_axi_arvalid && m_axi_arready) begin
      reads[reads_in%Bursts] = '{
          address: m_axi_araddr,
          beats: 9'(m_axi_arlen) + 9'd1,
          ready: cycle + 64'(Latency)
      };
      reads_in++;
    end
    if (m_axi_wvalid && m_axi_wready) begin
      credit -= 100;
      if (writes[writes_out%Bursts].address < npu_tb_pkg::WorkBase ||
          writes[writes_out%Bursts].address >= npu_tb_pkg::WorkBase + npu_tb_pkg::WorkBytes) begin
        strays++;
      end else begin
        for (int unsigned i = 0; i < Beat; i++) begin
          if (m_axi_wstrb[i])
            memory[index(writes[writes_out%Bursts].address)][8*i+:8] = m_axi_wdata[8*i+:8];
        end
      end
      writes[writes_out%Bursts].address += Beat;
      writes[writes_out%Bursts].beats -= 1;
      if (writes[writes_out%Bursts].beats == 0) begin
        answers[answers_in%Bursts] = '{address: '0, beats: '0, ready: cycle + 64'(Latency)};
        answers_in++;
        writes_out++;
      end
    end
    if (m_axi_awvalid && m_axi_awready) begin
      writes[writes_in%Bursts] = '{
          address: m_axi_awaddr,
          beats: 9'(m_axi_awlen) + 9'd1,
          ready: '0
      };
      writes_in++;
    end
    if (m_axi_bvalid && m_axi_bready) answers_out++;
    cycle++;

    // Signals of the next cycle.
    credit = credit + Efficiency > 200 ? 200 : credit + Efficiency;
    if (!read_pending && credit >= 100 && reads_in != reads_out &&
        reads[reads_out%Bursts].ready <= cycle) begin
      read_pending = 1'b1;
      credit -= 100;
      m_axi_rdata <= index(
          reads[reads_out%Bursts].address
      ) < npu_tb_pkg::MemoryWords ? memory[index(
          reads[reads_out%Bursts].address
      )] : '0;
      m_axi_rresp <= index(
          reads[reads_out%Bursts].address
      ) < npu_tb_pkg::MemoryWords ? 2'b00 : 2'b11;
      m_axi_rlast <= reads[reads_out%Bursts].beats == 9'd1;
      reads[reads_out%Bursts].address += Beat;
      reads[reads_out%Bursts].beats -= 1;
      if (reads[reads_out%Bursts].beats == 0) reads_out++;
    end
    m_axi_rvalid <= read_pending;
    m_axi_arready <= reads_in - reads_out < 32;
    m_axi_awready <= writes_in - writes_out < 32;
    m_axi_wready <= credit >= 100 && writes_in != writes_out;
    m_axi_bvalid <= answers_in != answers_out && answers[answers_out%Bursts].ready <= cycle;
  end

  // Control signals change on falling edges.
  task automatic write_register(input logic [7:0] offset, input logic [31:0] value);
    @(negedge clk);
    s_axi_awaddr = offset;
    s_axi_wdata = value;
    s_axi_awvalid = 1'b1;
    s_axi_wvalid = 1'b1;
    #1;
    while (!s_axi_awready) @(negedge clk) #1;
    @(negedge clk);
    s_axi_awvalid = 1'b0;
    s_axi_wvalid = 1'b0;
    s_axi_bready = 1'b1;
    #1;
    while (!s_axi_bvalid) @(negedge clk) #1;
    @(negedge clk);
    s_axi_bready = 1'b0;
  endtask

  task automatic read_register(input logic [7:0] offset, output logic [31:0] value);
    @(negedge clk);
    s_axi_araddr = offset;
    s_axi_arvalid = 1'b1;
    #1;
    while (!s_axi_arready) @(negedge clk) #1;
    @(negedge clk);
    s_axi_arvalid = 1'b0;
    s_axi_rready = 1'b1;
    #1;
    while (!s_axi_rvalid) @(negedge clk) #1;
    value = s_axi_rdata;
    @(negedge clk);
    s_axi_rready = 1'b0;
  endtask

  // Returns the number of differing output bytes and prints the first one.
  function automatic int unsigned differences();
    int unsigned next = 0;
    int unsigned wrong = 0;
    for (int unsigned n = 0; n < npu_tb_pkg::Outputs; n++) begin
      for (int unsigned c = 0; c < npu_tb_pkg::OutputChannels[n]; c++) begin
        for (
            int unsigned f = 0; f < npu_tb_pkg::OutputHeight[n] * npu_tb_pkg::OutputWidth[n]; f++
        ) begin
          logic [31:0] address;
          logic [7:0] found;
          address = npu_tb_pkg::OutputAddress[n] + c * npu_tb_pkg::OutputPitch[n] + f;
          found = memory[index(address)][8*address[BeatBits-1:0]+:8];
          if (found != expected[next]) begin
            if (wrong == 0) begin
              $display(
                  "MISMATCH layer %0d, channel %0d, row %0d, column %0d: found %0d, expected %0d",
                  npu_tb_pkg::OutputLayer[n], c, f / npu_tb_pkg::OutputWidth[n],
                  f % npu_tb_pkg::OutputWidth[n], $signed(found), $signed(expected[next]));
            end
            wrong++;
          end
          next++;
        end
      end
    end
    return wrong;
  endfunction

  logic [31:0] status, code, info, cycles;
  int unsigned wrong;
  initial begin
    repeat (4) @(negedge clk);
    rst_n = 1'b1;
    write_register(npu_pkg::RegStreamAddress, npu_tb_pkg::StreamAddress);
    write_register(npu_pkg::RegStreamBytes, npu_tb_pkg::StreamBytes);
    write_register(npu_pkg::RegRegion0Base, npu_tb_pkg::ProgramBase);
    write_register(npu_pkg::RegRegion0Bytes, npu_tb_pkg::ProgramBytes);
    write_register(npu_pkg::RegRegion1Base, npu_tb_pkg::WorkBase);
    write_register(npu_pkg::RegRegion1Bytes, npu_tb_pkg::WorkBytes);
    write_register(npu_pkg::RegWatchdog, npu_tb_pkg::WatchdogCycles);
    write_register(npu_pkg::RegInterruptEnable, 32'd3);
    write_register(npu_pkg::RegControl, 32'd1);
    while (!irq && cycle < Limit) @(negedge clk);
    read_register(npu_pkg::RegStatus, status);
    read_register(npu_pkg::RegFault, code);
    read_register(npu_pkg::RegFaultInfo, info);
    read_register(npu_pkg::RegCycles, cycles);
    wrong = irq && !status[2] ? differences() : 0;
    if (!irq) $display("FAIL: no interrupt after %0d cycles", cycle);
    else if (status[2]) $display("FAIL: fault %0d, information %08h", code, info);
    else if (strays != 0) $display("FAIL: %0d beats written outside the work region", strays);
    else if (wrong != 0) $display("FAIL: %0d bytes differ", wrong);
    else
      $display(
          "PASS: %0d bytes equal; %0d cycles, %0d predicted",
          npu_tb_pkg::ExpectedBytes,
          cycles,
          npu_tb_pkg::PredictedCycles
      );
    $finish;
  end
endmodule
