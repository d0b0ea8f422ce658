/**
 * Compiles the contracts of a local chain with the npm package `solc`, which is loaded only then. What was compiled is kept
 * in the directory for temporary files, so that it costs its seconds once.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import type { Hex } from "viem"
import { keccak256, stringToHex } from "viem/utils"
import { ChainError } from "../../PaymentError.ts"

const Code = Schema.TemplateLiteral(["0x", Schema.String]).check(Schema.isPattern(/^0x(?:[0-9a-f]{2})+$/))
const Codes = Schema.Record(Schema.String, Code)
const CodesFromJson = Schema.fromJsonString(Codes)
const decodeCodes = Schema.decodeUnknownEffect(CodesFromJson)

const Output = Schema.fromJsonString(Schema.Struct({
  errors: Schema.optionalKey(
    Schema.Array(Schema.Struct({ severity: Schema.String, formattedMessage: Schema.String }))
  ),
  contracts: Schema.optionalKey(Schema.Record(
    Schema.String,
    Schema.Record(
      Schema.String,
      Schema.Struct({ evm: Schema.Struct({ deployedBytecode: Schema.Struct({ object: Schema.String }) }) })
    )
  ))
}))
const decodeOutput = Schema.decodeUnknownEffect(Output)

/**
 * The runtime code of the contracts in a source, by name. The code is put at its address as it is: no constructor runs, so
 * a contract must do without one, and without immutables.
 *
 * @category constructors
 * @since 0.1.0
 */
export const compile = Effect.fn("Solidity.compile")(function*(
  source: string
): Effect.fn.Return<{ readonly [contract: string]: Hex }, ChainError> {
  const input = JSON.stringify({
    language: "Solidity",
    sources: { "main.sol": { content: source } },
    settings: {
      evmVersion: "cancun",
      optimizer: { enabled: true, runs: 200 },
      outputSelection: { "main.sol": { "*": ["evm.deployedBytecode.object"] } }
    }
  })
  const path = join(tmpdir(), "effect-mpp-solidity", `${keccak256(stringToHex(input)).slice(2)}.json`)
  const kept = yield* Effect.option(
    Effect.flatMap(Effect.try(() => readFileSync(path, "utf8")), decodeCodes)
  )
  if (kept._tag === "Some") return kept.value
  const codes = yield* run(input)
  yield* Effect.ignore(Effect.try(() => keep(path, JSON.stringify(codes))))
  return codes
})

const run = Effect.fnUntraced(function*(input: string) {
  const solc = yield* Effect.tryPromise({
    try: () => import("solc").then((module): { compile: (input: string) => string } => module.default),
    catch: () => failed("solc is not installed: npm install --save-dev solc")
  })
  const printed = yield* Effect.try({ try: () => solc.compile(input), catch: () => failed("solc broke down") })
  const { contracts = {}, errors = [] } = yield* Effect.mapError(
    decodeOutput(printed),
    ({ message }) => failed(message)
  )
  const error = errors.find(({ severity }) => severity === "error")
  if (error !== undefined) return yield* failed(error.formattedMessage)
  return Object.fromEntries(
    Object.entries(contracts["main.sol"] ?? {}).flatMap(([name, { evm }]): Array<[string, Hex]> =>
      // an interface has no code
      evm.deployedBytecode.object === "" ? [] : [[name, `0x${evm.deployedBytecode.object}`]]
    )
  )
})

/** Renamed into place, since several processes may compile at the same time. */
const keep = (path: string, content: string): void => {
  const own = `${path}.${process.pid}`
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(own, content)
  renameSync(own, path)
}

const failed = (detail: string) => new ChainError({ network: "local", operation: "compile", detail })
