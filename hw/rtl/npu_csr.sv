// AXI4-Lite control: registers by their numbers in npu_pkg.
module npu_csr (
  input  logic              clk,
  input  logic              rst,
  // AXI4-Lite
  input  logic              s_axi_awvalid,
  output logic              s_axi_awready,
  input  logic [7:0]        s_axi_awaddr,
  input  logic              s_axi_wvalid,
  output logic              s_axi_wready,
  input  logic [31:0]       s_axi_wdata,
  input  logic [3:0]        s_axi_wstrb,
  output logic              s_axi_bvalid,
  input  logic              s_axi_bready,
  output logic [1:0]        s_axi_bresp,
  input  logic              s_axi_arvalid,
  output logic              s_axi_arready,
  input  logic [7:0]        s_axi_araddr,
  output logic              s_axi_rvalid,
  input  logic              s_axi_rready,
  output logic [31:0]       s_axi_rdata,
  output logic [1:0]        s_axi_rresp,
  // Commands of software.
  output logic              start,
  output logic              reset,
  output logic              forget,
  // What the registers hold.
  output logic [31:0]       watchdog,
  output logic [31:0]       stream_address,
  output logic [26:0]       stream_units,
  output logic [1:0][31:0]  region_base,
  output logic [1:0][31:0]  region_bytes,
  // State of the core.
  input  logic              busy,
  input  logic              frame_done,
  input  logic              fault,
  input  logic              resetting,
  input  logic [3:0]        fault_code,
  input  logic [31:0]       fault_info,
  // Pulses that raise the interrupt's bits.
  input  logic              raise_done,
  input  logic              raise_fault,
  input  logic [12:0][31:0] counters,
  output logic              irq
);
  logic [1:0] pending_q, enable_q;

  // A write happens when address and data are both there.
  logic write;
  assign write         = s_axi_awvalid && s_axi_wvalid && (!s_axi_bvalid || s_axi_bready);
  assign s_axi_awready = write;
  assign s_axi_wready  = write;
  assign s_axi_bresp   = 2'b00;
  assign s_axi_rresp   = 2'b00;

  // Registers take whole words.
  logic whole;
  assign whole = write && s_axi_wstrb == '1;
  assign start  = whole && s_axi_awaddr == npu_pkg::RegControl && s_axi_wdata[2:0] == 3'b001;
  assign reset  = whole && s_axi_awaddr == npu_pkg::RegControl && s_axi_wdata[2:1] != '0;
  assign forget = s_axi_wdata[2];

  always_ff @(posedge clk) begin
    if (rst) begin
      s_axi_bvalid   <= 1'b0;
      enable_q       <= '0;
      watchdog       <= '0;
      stream_address <= '0;
      stream_units   <= '0;
      region_base    <= '0;
      region_bytes   <= '0;
    end else begin
      if (write) s_axi_bvalid <= 1'b1;
      else if (s_axi_bready) s_axi_bvalid <= 1'b0;
      if (whole) begin
        case (s_axi_awaddr)
          npu_pkg::RegInterruptEnable: enable_q <= s_axi_wdata[1:0];
          npu_pkg::RegWatchdog: watchdog <= s_axi_wdata;
          npu_pkg::RegStreamAddress: stream_address <= {s_axi_wdata[31:5], 5'b0};
          npu_pkg::RegStreamBytes: stream_units <= s_axi_wdata[31:5];
          npu_pkg::RegRegion0Base: region_base[0] <= {s_axi_wdata[31:4], 4'b0};
          npu_pkg::RegRegion0Bytes: region_bytes[0] <= s_axi_wdata;
          npu_pkg::RegRegion1Base: region_base[1] <= {s_axi_wdata[31:4], 4'b0};
          npu_pkg::RegRegion1Bytes: region_bytes[1] <= s_axi_wdata;
          default: ;
        endcase
      end
    end
  end

  logic clear;
  assign clear = whole && s_axi_awaddr == npu_pkg::RegInterrupt;
  always_ff @(posedge clk) begin
    if (rst || reset) pending_q <= '0;
    else pending_q <= (pending_q & ~(clear ? s_axi_wdata[1:0] : 2'b00)) | {raise_fault, raise_done};
  end
  assign irq = (pending_q & enable_q) != '0;

  // Counters stand in one run of words from 0x80 on; the lowest bits of an address do not count.
  logic [31:0]       value;
  logic [15:0][31:0] counter_words;
  assign counter_words = {96'd0, counters};
  always_comb begin
    value = '0;
    case ({s_axi_araddr[7:2], 2'b00})
      npu_pkg::RegId: value = npu_pkg::IdValue;
      npu_pkg::RegVersion: value = npu_pkg::VersionValue;
      npu_pkg::RegShape: value = {8'(npu_pkg::DrainRows), 8'(npu_pkg::AxiBytes), 8'(npu_pkg::Lanes), 8'(npu_pkg::Rows)};
      npu_pkg::RegBankWords: value = npu_pkg::BankWords;
      npu_pkg::RegWeightWords: value = npu_pkg::WeightWords;
      npu_pkg::RegParamEntries: value = npu_pkg::ParamEntries;
      npu_pkg::RegStatus: value = {28'd0, resetting, fault, frame_done, busy};
      npu_pkg::RegInterrupt: value = {30'd0, pending_q};
      npu_pkg::RegInterruptEnable: value = {30'd0, enable_q};
      npu_pkg::RegFault: value = {28'd0, fault_code};
      npu_pkg::RegFaultInfo: value = fault_info;
      npu_pkg::RegWatchdog: value = watchdog;
      npu_pkg::RegStreamAddress: value = stream_address;
      npu_pkg::RegStreamBytes: value = {stream_units, 5'b0};
      npu_pkg::RegRegion0Base: value = region_base[0];
      npu_pkg::RegRegion0Bytes: value = region_bytes[0];
      npu_pkg::RegRegion1Base: value = region_base[1];
      npu_pkg::RegRegion1Bytes: value = region_bytes[1];
      default: if (s_axi_araddr[7:6] == npu_pkg::RegCycles[7:6]) value = counter_words[s_axi_araddr[5:2]];
    endcase
  end

  assign s_axi_arready = !s_axi_rvalid || s_axi_rready;
  always_ff @(posedge clk) begin
    if (rst) begin
      s_axi_rvalid <= 1'b0;
    end else if (s_axi_arready) begin
      s_axi_rvalid <= s_axi_arvalid;
    end
    if (s_axi_arready) s_axi_rdata <= value;
  end
endmodule
