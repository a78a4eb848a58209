// npu_csr: obeys AXI4-Lite; a register holds what was written last, and software commands are
// pulses.
module prove_csr (
  input logic              clk_i,
  input logic              rst_ni,
  input logic              s_axi_awvalid_i,
  input logic [ 7:0]       s_axi_awaddr_i,
  input logic              s_axi_wvalid_i,
  input logic [31:0]       s_axi_wdata_i,
  input logic [ 3:0]       s_axi_wstrb_i,
  input logic              s_axi_bready_i,
  input logic              s_axi_arvalid_i,
  input logic [ 7:0]       s_axi_araddr_i,
  input logic              s_axi_rready_i,
  input logic              busy_i,
  input logic              frame_done_i,
  input logic              fault_i,
  input logic              resetting_i,
  input logic [ 3:0]       fault_code_i,
  input logic [31:0]       fault_info_i,
  input logic              raise_done_i,
  input logic              raise_fault_i,
  input logic [12:0][31:0] counters_i,
  // The register that is followed.
  input logic [ 7:0]       chosen_i
);
  import npu_pkg::*;

  logic
      s_axi_awready,
      s_axi_wready,
      s_axi_bvalid,
      s_axi_arready,
      s_axi_rvalid,
      start,
      reset,
      forget,
      irq;
  logic [1:0] s_axi_bresp, s_axi_rresp;
  logic [31:0] s_axi_rdata, watchdog, stream_address;
  logic [26:0] stream_units;
  logic [1:0][31:0] region_base, region_bytes;

  npu_csr u_csr (
    .clk_i,
    .rst_ni,
    .s_axi_awvalid_i,
    .s_axi_awready_o (s_axi_awready),
    .s_axi_awaddr_i,
    .s_axi_wvalid_i,
    .s_axi_wready_o  (s_axi_wready),
    .s_axi_wdata_i,
    .s_axi_wstrb_i,
    .s_axi_bvalid_o  (s_axi_bvalid),
    .s_axi_bready_i,
    .s_axi_bresp_o   (s_axi_bresp),
    .s_axi_arvalid_i,
    .s_axi_arready_o (s_axi_arready),
    .s_axi_araddr_i,
    .s_axi_rvalid_o  (s_axi_rvalid),
    .s_axi_rready_i,
    .s_axi_rdata_o   (s_axi_rdata),
    .s_axi_rresp_o   (s_axi_rresp),
    .start_o         (start),
    .reset_o         (reset),
    .forget_o        (forget),
    .watchdog_o      (watchdog),
    .stream_address_o(stream_address),
    .stream_units_o  (stream_units),
    .region_base_o   (region_base),
    .region_bytes_o  (region_bytes),
    .busy_i,
    .frame_done_i,
    .fault_i,
    .resetting_i,
    .fault_code_i,
    .fault_info_i,
    .raise_done_i,
    .raise_fault_i,
    .counters_i,
    .irq_o           (irq)
  );

  logic begun_q = 1'b0;
  logic write, read, whole;
  assign write = s_axi_awvalid_i && s_axi_awready;
  assign whole = write && s_axi_wstrb_i == '1;
  assign read = s_axi_arvalid_i && s_axi_arready;

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

  logic [7:0] register_q;
  logic [31:0] value_q;
  logic [1:0] pending_q;
  // Pending answers: to a write; to a read, with the expected data.
  logic owed_write_q, owed_read_q, held_q, held_read_q;
  logic [31:0] expected_q, data_q;
  logic known_q, expected_known_q;

  logic [31:0] expected;
  logic expected_known;
  always_comb begin
    expected_known = 1'b1;
    expected = '0;
    case ({
      s_axi_araddr_i[7:2], 2'b00
    })
      RegId: expected = IdValue;
      RegVersion: expected = VersionValue;
      RegStatus: expected = {28'd0, resetting_i, fault_i, frame_done_i, busy_i};
      RegInterrupt: expected = {30'd0, pending_q};
      RegFault: expected = {28'd0, fault_code_i};
      RegFaultInfo: expected = fault_info_i;
      RegShape, RegBankWords, RegWeightWords, RegParamEntries: expected_known = 1'b0;
      default: begin
        if ({s_axi_araddr_i[7:2], 2'b00} == register_q && writable(register_q) != '0)
          expected = value_q;
        else if (s_axi_araddr_i >= RegCycles && s_axi_araddr_i < RegCycles + 8'd52)
          expected = counters_i[4'((s_axi_araddr_i-RegCycles)>>2)];
        else expected_known = 1'b0;
      end
    endcase
  end

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    if (!begun_q) register_q <= chosen_i;
    if (!rst_ni) value_q <= '0;
    else if (whole && s_axi_awaddr_i == register_q) value_q <= s_axi_wdata_i & writable(register_q);
    if (!rst_ni || reset) pending_q <= '0;
    else
      pending_q <= (pending_q & ~(whole && s_axi_awaddr_i == RegInterrupt ? s_axi_wdata_i[1:0] :
                                  2'b00)) | {raise_fault_i, raise_done_i};
    owed_write_q <= write || (owed_write_q && !s_axi_bready_i);
    owed_read_q <= read || (owed_read_q && !s_axi_rready_i);
    held_q <= s_axi_bvalid && !s_axi_bready_i;
    held_read_q <= s_axi_rvalid && !s_axi_rready_i;
    data_q <= s_axi_rdata;
    if (read) begin
      expected_q <= expected;
      expected_known_q <= expected_known;
    end
    if (!rst_ni) begin
      owed_write_q <= 1'b0;
      owed_read_q <= 1'b0;
      held_q <= 1'b0;
      held_read_q <= 1'b0;
    end
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (begun_q) begin
      // Each write and read has one answer, which stays until it is accepted.
      assert (s_axi_bvalid == owed_write_q && s_axi_rvalid == owed_read_q);
      if (held_q) assert (s_axi_bvalid);
      if (held_read_q) assert (s_axi_rvalid && s_axi_rdata == data_q);
      assert (s_axi_bresp == '0 && s_axi_rresp == '0);
      // A write needs address and data; neither is refused forever.
      assert (s_axi_awready == s_axi_wready);
      assert (!s_axi_awready || (s_axi_awvalid_i && s_axi_wvalid_i));
      if (s_axi_awvalid_i && s_axi_wvalid_i && (!s_axi_bvalid || s_axi_bready_i))
        assert (s_axi_awready);
      if (!s_axi_rvalid || s_axi_rready_i) assert (s_axi_arready);
      // A read returns what was written last, or the state at the time of the request.
      if (s_axi_rvalid && expected_known_q) assert (s_axi_rdata == expected_q);
      if (register_q == RegWatchdog) assert (watchdog == value_q);
      if (register_q == RegStreamAddress) assert (stream_address == value_q);
      if (register_q == RegStreamBytes) assert ({stream_units, 5'b0} == value_q);
      if (register_q == RegRegion0Base) assert (region_base[0] == value_q);
      if (register_q == RegRegion0Bytes) assert (region_bytes[0] == value_q);
      if (register_q == RegRegion1Base) assert (region_base[1] == value_q);
      if (register_q == RegRegion1Bytes) assert (region_bytes[1] == value_q);
      if (register_q == RegInterruptEnable) assert (irq == ((pending_q & value_q[1:0]) != '0));
      // Commands last for the cycle of the write only; reset wins over start.
      assert (start == (whole && s_axi_awaddr_i == RegControl && s_axi_wdata_i[2:0] == 3'b001));
      assert (reset == (whole && s_axi_awaddr_i == RegControl && s_axi_wdata_i[2:1] != '0));
      if (reset) assert (forget == s_axi_wdata_i[2]);
    end
  end

  always_comb begin
    if (begun_q && register_q == RegInterruptEnable) begin
      assert (u_csr.enable_q == value_q[1:0] && value_q[31:2] == '0);
    end
    if (begun_q) begin
      assert (u_csr.pending_q == pending_q);
      cover (s_axi_rvalid && expected_known_q && s_axi_rdata == 32'hdead_beef &&
             register_q == RegWatchdog && value_q == 32'hdead_beef && held_read_q);
      cover (irq && pending_q == 2'b10);
    end
  end
endmodule
