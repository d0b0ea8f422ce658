import { assert, describe, it } from "@effect/vitest"
import * as Environment from "../../src/cli/Environment.ts"

describe("Environment", () => {
  it("takes the secrets out of the environment, and keeps them for the configuration", () => {
    const environment: { [name: string]: string | undefined } = {
      MPP_PRIVATE_KEY: "key",
      TEMPO_CREDENTIAL: "credential",
      MPP_LEDGER: "postgres://user:password@db/ledger",
      PATH: "/bin"
    }
    const taken = Environment.take(environment)
    assert.deepStrictEqual(environment, { PATH: "/bin" })
    assert.deepStrictEqual(taken, {
      MPP_PRIVATE_KEY: "key",
      TEMPO_CREDENTIAL: "credential",
      MPP_LEDGER: "postgres://user:password@db/ledger",
      PATH: "/bin"
    })
  })

  it("takes a variable that is set to nothing for one that is not set", () => {
    assert.deepStrictEqual(Environment.take({ MPP_LEDGER: "", MPP_BUDGET: undefined }), {})
  })
})
