import { assert, describe, it } from "@effect/vitest"
import * as Table from "../../src/cli/Table.ts"

describe("Table", () => {
  it("aligns columns, and numbers on their right", () => {
    assert.strictEqual(
      Table.render(["offer", { title: "price", align: "right" }, "why"], [["a", "$0.05", "x"], [
        "long",
        "$10.00",
        "y"
      ]]),
      [
        "OFFER   PRICE  WHY",
        "a       $0.05  x",
        "long   $10.00  y"
      ].join("\n")
    )
  })

  it("leaves no space at the end of a line", () => {
    assert.strictEqual(Table.render(["a", "b"], [["x", ""]]), "A  B\nx")
    assert.strictEqual(Table.list([["name", "value"], ["x", ""]]), "name  value\nx")
  })

  it("counts wide characters as two", () => {
    assert.strictEqual(Table.list([["日本", "x"], ["abcd", "y"]]), "日本  x\nabcd  y")
  })

  it("lets no cell move the cursor, change a colour, begin a line or turn the direction", () => {
    assert.strictEqual(Table.list([["a\u001b[31m\nb", "x\u202ey\u0007\u009b"]]), "a [31m b  x y")
  })

  it("moves lines to the right, and leaves empty ones empty", () => {
    assert.strictEqual(Table.indent("a\n\nb"), "  a\n\n  b")
  })

  it("gives nothing for nothing", () => {
    assert.strictEqual(Table.list([]), "")
    assert.strictEqual(Table.render(["a"], []), "A")
  })
})
