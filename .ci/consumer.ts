/** A program of somebody who installed the package. */
import * as mpp from "effect-mpp"
import * as Amount from "effect-mpp/Amount"
import * as merchant from "effect-mpp/merchant"
import * as ExactEvm from "effect-mpp/rails/ExactEvm"
import * as testing from "effect-mpp/testing"
import * as Option from "effect/Option"
import "./every.ts"

const check = (what: string, holds: boolean): void => {
  if (!holds) throw new Error(`a consumer finds that it is not so: ${what}`)
}

const hidden = (path: string): Promise<boolean> => import(path).then(() => false, () => true)

check("there is one copy of a module", mpp.Amount.parse === Amount.parse)
check("money is exact", Option.getOrThrow(Amount.parse("0.05", 6)) === 50_000n)
check("a rail's layer is a function", typeof ExactEvm.layer === "function")
check("there is a merchant's side", Object.keys(merchant).length > 0)
check("there is something to test with", Object.keys(testing).length > 0)
check("what is made of parts does not show them", await hidden("effect-mpp/Attempt"))
check("the executable is no module", await hidden("effect-mpp/cli/main"))
check("an index has one name", await hidden("effect-mpp/index") && await hidden("effect-mpp/testing/index"))
