// npu_csr: AXI4-Lite rules; a register holds what was written last, and software's commands are pulses.
module prove_csr (
  input logic              clk,
  input logic              rst,
  input logic              s_axi_awvalid,
  input logic [7:0]        s_axi_awaddr,
  input logic              s_axi_wvalid,
  input logic [31:0]       s_axi_wdata,
  input logic [3:0]        s_axi_wstrb,
  input logic              s_axi_bready,
  input logic              s_axi_arvalid,
  input logic [7:0]        s_axi_araddr,
  input logic              s_axi_rready,
  input logic              busy,
  input logic              frame_done,
  input logic              fault,
  input logic              resetting,
  input logic [3:0]        fault_code,
  input logic [31:0]       fault_info,
  input logic              raise_done,
  input logic              raise_fault,
  input logic [12:0][31:0] counters,
  // The register that is followed.
  input logic [7:0]        chosen
);
  import npu_pkg::*;

  logic             s_axi_awready, s_axi_wready, s_axi_bvalid, s_axi_arready, s_axi_rvalid, start, reset, forget, irq;
  logic [1:0]       s_axi_bresp, s_axi_rresp;
  logic [31:0]      s_axi_rdata, watchdog, stream_address;
  logic [26:0]      stream_units;
  logic [1:0][31:0] region_base, region_bytes;

  npu_csr u_csr (.*);

  logic begun_q = 1'b0;
  logic write, read, whole;
  assign write = s_axi_awvalid && s_axi_awready;
  assign whole = write && s_axi_wstrb == '1;
  assign read  = s_axi_arvalid && s_axi_arready;

  // Bits of a register that software can write.
  function automatic logic [31:0] writable(input logic [7:0] register);
    case (register)
      RegInterruptEnable: return 32'h3;
      RegWatchdog, RegRegion0Bytes, RegRegion1Bytes: return '1;
      RegStreamAddress, RegStreamBytes: return 32'hffff_ffe0;
      RegRegion0Base, RegRegion1Base: return 32'hffff_fff0;
      default: return '0;
    endcase
  endfunction

  logic [7:0]  register_q;
  logic [31:0] value_q;
  logic [1:0]  pending_q;
  // Answers owed: to a write, to a read and what it must be.
  logic        owed_write_q, owed_read_q, held_q, held_read_q;
  logic [31:0] expected_q, data_q;
  logic        known_q, expected_known_q;

  logic [31:0] expected;
  logic        expected_known;
  always_comb begin
    expected_known = 1'b1;
    expected       = '0;
    case ({s_axi_araddr[7:2], 2'b00})
      RegId: expected = IdValue;
      RegVersion: expected = VersionValue;
      RegStatus: expected = {28'd0, resetting, fault, frame_done, busy};
      RegInterrupt: expected = {30'd0, pending_q};
      RegFault: expected = {28'd0, fault_code};
      RegFaultInfo: expected = fault_info;
      RegShape, RegBankWords, RegWeightWords, RegParamEntries: expected_known = 1'b0;
      default: begin
        if ({s_axi_araddr[7:2], 2'b00} == register_q && writable(register_q) != '0) expected = value_q;
        else if (s_axi_araddr >= RegCycles && s_axi_araddr < RegCycles + 8'd52)
          expected = counters[4'((s_axi_araddr - RegCycles) >> 2)];
        else expected_known = 1'b0;
      end
    endcase
  end

  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    if (!begun_q) register_q <= chosen;
    if (rst) value_q <= '0;
    else if (whole && s_axi_awaddr == register_q) value_q <= s_axi_wdata & writable(register_q);
    if (rst || reset) pending_q <= '0;
    else
      pending_q <= (pending_q & ~(whole && s_axi_awaddr == RegInterrupt ? s_axi_wdata[1:0] : 2'b00))
          | {raise_fault, raise_done};
    owed_write_q <= write || (owed_write_q && !s_axi_bready);
    owed_read_q  <= read || (owed_read_q && !s_axi_rready);
    held_q       <= s_axi_bvalid && !s_axi_bready;
    held_read_q  <= s_axi_rvalid && !s_axi_rready;
    data_q       <= s_axi_rdata;
    if (read) begin
      expected_q       <= expected;
      expected_known_q <= expected_known;
    end
    if (rst) begin
      owed_write_q <= 1'b0;
      owed_read_q  <= 1'b0;
      held_q       <= 1'b0;
      held_read_q  <= 1'b0;
    end
  end

  always_comb begin
    if (!begun_q) assume (rst);
    if (begun_q) begin
      // One answer to each write and read, which stays until it is taken.
      assert (s_axi_bvalid == owed_write_q && s_axi_rvalid == owed_read_q);
      if (held_q) assert (s_axi_bvalid);
      if (held_read_q) assert (s_axi_rvalid && s_axi_rdata == data_q);
      assert (s_axi_bresp == '0 && s_axi_rresp == '0);
      // A write needs both its parts; none is refused for ever.
      assert (s_axi_awready == s_axi_wready);
      assert (!s_axi_awready || (s_axi_awvalid && s_axi_wvalid));
      if (s_axi_awvalid && s_axi_wvalid && (!s_axi_bvalid || s_axi_bready)) assert (s_axi_awready);
      if (!s_axi_rvalid || s_axi_rready) assert (s_axi_arready);
      // What is read is what was written last, or the state at the time of the request.
      if (s_axi_rvalid && expected_known_q) assert (s_axi_rdata == expected_q);
      if (register_q == RegWatchdog) assert (watchdog == value_q);
      if (register_q == RegStreamAddress) assert (stream_address == value_q);
      if (register_q == RegStreamBytes) assert ({stream_units, 5'b0} == value_q);
      if (register_q == RegRegion0Base) assert (region_base[0] == value_q);
      if (register_q == RegRegion0Bytes) assert (region_bytes[0] == value_q);
      if (register_q == RegRegion1Base) assert (region_base[1] == value_q);
      if (register_q == RegRegion1Bytes) assert (region_bytes[1] == value_q);
      if (register_q == RegInterruptEnable) assert (irq == ((pending_q & value_q[1:0]) != '0));
      // Commands: for the cycle of the write only, reset before start.
      assert (start == (whole && s_axi_awaddr == RegControl && s_axi_wdata[2:0] == 3'b001));
      assert (reset == (whole && s_axi_awaddr == RegControl && s_axi_wdata[2:1] != '0));
      if (reset) assert (forget == s_axi_wdata[2]);
    end
  end

  always_comb begin
    if (begun_q && register_q == RegInterruptEnable) begin
      assert (u_csr.enable_q == value_q[1:0] && value_q[31:2] == '0);
    end
    if (begun_q) begin
      assert (u_csr.pending_q == pending_q);
      cover (s_axi_rvalid && expected_known_q && s_axi_rdata == 32'hdead_beef && register_q == RegWatchdog
          && value_q == 32'hdead_beef && held_read_q);
      cover (irq && pending_q == 2'b10);
    end
  end
endmodule
