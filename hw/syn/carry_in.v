// A carry chain that begins with a constant gets it from the look-up table of a cell of its own.
// Nextpnr would add the same cell, and wire it to one constant net across the device.

(* techmap_celltype = "CCU2C" *)
module _carry_in (input CIN, A0, B0, C0, D0, A1, B1, C1, D1, output S0, S1, COUT);
  parameter [15:0] INIT0 = 16'h0000;
  parameter [15:0] INIT1 = 16'h0000;
  parameter INJECT1_0 = "YES";
  parameter INJECT1_1 = "YES";
  parameter _TECHMAP_CONSTMSK_CIN_ = 1'b0;
  parameter _TECHMAP_CONSTVAL_CIN_ = 1'b0;
  wire _TECHMAP_FAIL_ = !_TECHMAP_CONSTMSK_CIN_ || _TECHMAP_CONSTVAL_CIN_ === 1'bx;

  // Lower half: no carry passes, it is what the lowest four bits say. Upper half: it passes.
  wire carry;
  CCU2C #(
      .INIT0(_TECHMAP_CONSTVAL_CIN_ ? 16'h000f : 16'h0000),
      .INIT1(16'hffff),
      .INJECT1_0("NO"),
      .INJECT1_1("YES")
  ) first (
      .CIN(1'bx),
      .A0(1'b1), .B0(1'b1), .C0(1'b1), .D0(1'b1),
      .A1(1'b1), .B1(1'b1), .C1(1'b1), .D1(1'b1),
      .COUT(carry)
  );
  CCU2C #(
      .INIT0(INIT0),
      .INIT1(INIT1),
      .INJECT1_0(INJECT1_0),
      .INJECT1_1(INJECT1_1)
  ) chain (
      .CIN(carry),
      .A0(A0), .B0(B0), .C0(C0), .D0(D0),
      .A1(A1), .B1(B1), .C1(C1), .D1(D1),
      .S0(S0), .S1(S1), .COUT(COUT)
  );
endmodule
