// Control and status registers on AXI4-Lite; npu_pkg lists their offsets. Only whole 32-bit words
// are written (WSTRB = 4'hf); every access is answered with OKAY.
module npu_csr (
  input  logic              clk_i,
  input  logic              rst_ni,
  // AXI4-Lite subordinate.
  input  logic              s_axi_awvalid_i,
  output logic              s_axi_awready_o,
  input  logic [ 7:0]       s_axi_awaddr_i,
  input  logic              s_axi_wvalid_i,
  output logic              s_axi_wready_o,
  input  logic [31:0]       s_axi_wdata_i,
  input  logic [ 3:0]       s_axi_wstrb_i,
  output logic              s_axi_bvalid_o,
  input  logic              s_axi_bready_i,
  output logic [ 1:0]       s_axi_bresp_o,
  input  logic              s_axi_arvalid_i,
  output logic              s_axi_arready_o,
  input  logic [ 7:0]       s_axi_araddr_i,
  output logic              s_axi_rvalid_o,
  input  logic              s_axi_rready_i,
  output logic [31:0]       s_axi_rdata_o,
  output logic [ 1:0]       s_axi_rresp_o,
  // Software commands, pulses of one cycle.
  output logic              start_o,
  output logic              reset_o,
  output logic              forget_o,
  // Register contents.
  output logic [31:0]       watchdog_o,
  output logic [31:0]       stream_address_o,
  output logic [26:0]       stream_units_o,
  output logic [ 1:0][31:0] region_base_o,
  output logic [ 1:0][31:0] region_bytes_o,
  // State of the core.
  input  logic              busy_i,
  input  logic              frame_done_i,
  input  logic              fault_i,
  input  logic              resetting_i,
  input  logic [ 3:0]       fault_code_i,
  input  logic [31:0]       fault_info_i,
  // Pulses that set the pending bits of the interrupt.
  input  logic              raise_done_i,
  input  logic              raise_fault_i,
  input  logic [12:0][31:0] counters_i,
  output logic              irq_o
);
  logic [1:0] pending_q, enable_q;

  // A write happens when address and data are both valid.
  logic write;
  assign write = s_axi_awvalid_i && s_axi_wvalid_i && (!s_axi_bvalid_o || s_axi_bready_i);
  assign s_axi_awready_o = write;
  assign s_axi_wready_o = write;
  assign s_axi_bresp_o = 2'b00;
  assign s_axi_rresp_o = 2'b00;

  // Registers take whole words only.
  logic full_write;
  assign full_write = write && s_axi_wstrb_i == '1;
  assign
      start_o = full_write && s_axi_awaddr_i == npu_pkg::RegControl && s_axi_wdata_i[2:0] == 3'b001;
  assign reset_o = full_write && s_axi_awaddr_i == npu_pkg::RegControl && s_axi_wdata_i[2:1] != '0;
  assign forget_o = s_axi_wdata_i[2];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      s_axi_bvalid_o <= 1'b0;
      enable_q <= '0;
      watchdog_o <= '0;
      stream_address_o <= '0;
      stream_units_o <= '0;
      region_base_o <= '0;
      region_bytes_o <= '0;
    end else begin
      if (write) s_axi_bvalid_o <= 1'b1;
      else if (s_axi_bready_i) s_axi_bvalid_o <= 1'b0;
      if (full_write) begin
        case (s_axi_awaddr_i)
          npu_pkg::RegInterruptEnable: enable_q <= s_axi_wdata_i[1:0];
          npu_pkg::RegWatchdog: watchdog_o <= s_axi_wdata_i;
          npu_pkg::RegStreamAddress: stream_address_o <= {s_axi_wdata_i[31:5], 5'b0};
          npu_pkg::RegStreamBytes: stream_units_o <= s_axi_wdata_i[31:5];
          npu_pkg::RegRegion0Base: region_base_o[0] <= {s_axi_wdata_i[31:4], 4'b0};
          npu_pkg::RegRegion0Bytes: region_bytes_o[0] <= s_axi_wdata_i;
          npu_pkg::RegRegion1Base: region_base_o[1] <= {s_axi_wdata_i[31:4], 4'b0};
          npu_pkg::RegRegion1Bytes: region_bytes_o[1] <= s_axi_wdata_i;
          default: ;
        endcase
      end
    end
  end

  logic clear;
  assign clear = full_write && s_axi_awaddr_i == npu_pkg::RegInterrupt;
  always_ff @(posedge clk_i) begin
    if (!rst_ni || reset_o) pending_q <= '0;
    else
      pending_q <= (pending_q & ~(clear ? s_axi_wdata_i[1:0] : 2'b00)) |
          {raise_fault_i, raise_done_i};
  end
  assign irq_o = (pending_q & enable_q) != '0;

  // The counters are consecutive words from 0x80 on; the lowest two bits of an address are ignored.
  logic [31:0] value;
  logic [15:0][31:0] counter_words;
  assign counter_words = {96'd0, counters_i};
  always_comb begin
    value = '0;
    case ({
      s_axi_araddr_i[7:2], 2'b00
    })
      npu_pkg::RegId: value = npu_pkg::IdValue;
      npu_pkg::RegVersion: value = npu_pkg::VersionValue;
      npu_pkg::RegShape:
      value = {
        8'(npu_pkg::DrainRows), 8'(npu_pkg::AxiBytes), 8'(npu_pkg::Lanes), 8'(npu_pkg::Rows)
      };
      npu_pkg::RegBankWords: value = npu_pkg::BankWords;
      npu_pkg::RegWeightWords: value = npu_pkg::WeightWords;
      npu_pkg::RegParamEntries: value = npu_pkg::ParamEntries;
      npu_pkg::RegStatus: value = {28'd0, resetting_i, fault_i, frame_done_i, busy_i};
      npu_pkg::RegInterrupt: value = {30'd0, pending_q};
      npu_pkg::RegInterruptEnable: value = {30'd0, enable_q};
      npu_pkg::RegFault: value = {28'd0, fault_code_i};
      npu_pkg::RegFaultInfo: value = fault_info_i;
      npu_pkg::RegWatchdog: value = watchdog_o;
      npu_pkg::RegStreamAddress: value = stream_address_o;
      npu_pkg::RegStreamBytes: value = {stream_units_o, 5'b0};
      npu_pkg::RegRegion0Base: value = region_base_o[0];
      npu_pkg::RegRegion0Bytes: value = region_bytes_o[0];
      npu_pkg::RegRegion1Base: value = region_base_o[1];
      npu_pkg::RegRegion1Bytes: value = region_bytes_o[1];
      default:
      if (s_axi_araddr_i[7:6] == npu_pkg::RegCycles[7:6])
        value = counter_words[s_axi_araddr_i[5:2]];
    endcase
  end

  assign s_axi_arready_o = !s_axi_rvalid_o || s_axi_rready_i;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      s_axi_rvalid_o <= 1'b0;
    end else if (s_axi_arready_o) begin
      s_axi_rvalid_o <= s_axi_arvalid_i;
    end
    if (s_axi_arready_o) s_axi_rdata_o <= value;
  end
endmodule
