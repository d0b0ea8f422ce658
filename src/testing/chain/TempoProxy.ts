/**
 * A proxy on loopback that adds to a local Tempo node what anvil 1.7.1 lacks: a faucet (`tempo_fundAddress`), the channel
 * reserve (for which a contract stands in), and simulations and prices of gas that count the calls of a Tempo transaction.
 * All other requests go through unread.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { createServer, type Server } from "node:http"
import { type Hex, isAddress, recoverTransactionAddress, type TransactionSerialized } from "viem"
import { Transaction } from "viem/tempo"
import { concat, keccak256, numberToHex, parseTransaction, serializeTransaction } from "viem/utils"
import { ChainError } from "../../PaymentError.ts"
import * as Anvil from "./Anvil.ts"
import * as ChannelReserve from "./ChannelReserve.ts"
import * as TempoFaucet from "./TempoFaucet.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Whether a contract stands in for the channel reserve. */
  readonly standsIn: boolean
  readonly faucet: TempoFaucet.Faucet
}

/**
 * Serves on a free port of 127.0.0.1 until the scope closes. Answers with the URL.
 *
 * @category constructors
 * @since 0.1.0
 */
export const serve = Effect.fn("TempoProxy.serve")(function*(
  node: Anvil.Anvil,
  options: Options
): Effect.fn.Return<string, ChainError, Scope.Scope> {
  const answer = answering(node, options)
  const run = yield* FiberSet.makeRuntime()
  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () =>
      run(Effect.match(answer(Buffer.concat(chunks).toString()), {
        onSuccess: (text) => response.writeHead(200, { "content-type": "application/json" }).end(text),
        onFailure: () => response.writeHead(502).end()
      })))
  })
  yield* Effect.acquireRelease(listening(server, node.network), closed)
  const address = server.address()
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : address}`
})

const listening = (server: Server, network: string): Effect.Effect<Server, ChainError> =>
  Effect.callback((resume) => {
    server.once("error", ({ message }) =>
      resume(Effect.fail(new ChainError({ network, operation: "start", detail: message }))))
    server.listen(0, "127.0.0.1", () =>
      resume(Effect.succeed(server)))
  })

const closed = (server: Server): Effect.Effect<void> =>
  Effect.callback((resume) => {
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })

// ---------------------------------------------------------------------------------------------------------------------
// Answers
// ---------------------------------------------------------------------------------------------------------------------

const Request = Schema.Struct({
  id: Schema.optionalKey(Schema.Unknown),
  method: Schema.String,
  params: Schema.optionalKey(Schema.Array(Schema.Unknown))
})
type Request = typeof Request.Type
const decodeMessage = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Union([Request, Schema.Array(Request)])))

/** What a request is answered with, besides its id. */
type Answer = { readonly result: unknown } | { readonly error: unknown }

const reserve = new RegExp(ChannelReserve.address.slice(2), "i")

const answering = (node: Anvil.Anvil, { faucet, standsIn }: Options) => {
  const forward = (body: string): Effect.Effect<string, ChainError> =>
    Effect.tryPromise({
      try: (signal) =>
        fetch(node.rpcUrl, { method: "POST", headers: { "content-type": "application/json" }, body, signal })
          .then((response) => response.text()),
      catch: () => new ChainError({ network: node.network, operation: "forward", detail: "the node did not answer" })
    })

  const answer = Effect.fnUntraced(function*(request: Request): Effect.fn.Return<string, ChainError> {
    const { id, method, params: [first] = [] } = request
    const respond = (answer: Answer) => JSON.stringify({ jsonrpc: "2.0", id, ...answer })
    if (method === "tempo_fundAddress") return respond(yield* funded(faucet, first))
    const proposal = decodeProposal(first)
    if (standsIn) {
      const sender = Option.isSome(proposal) ? senderOf(proposal.value) : yield* signerOf(first)
      if (sender !== undefined) yield* ChannelReserve.prepare(node, sender)
    }
    if (method === "eth_call" && Option.isSome(proposal) && hasCalls(proposal.value)) {
      return respond(yield* called(node, proposal.value))
    }
    const answered = yield* forward(JSON.stringify({ jsonrpc: "2.0", ...request }))
    if (!pricing.test(method) || Option.isNone(proposal)) return answered
    const priced = yield* repriced(node, proposal.value, answered)
    return priced === undefined ? answered : respond(priced)
  })

  return (body: string): Effect.Effect<string, ChainError> => {
    if (!watched.test(body) && !(standsIn && reserve.test(body))) return forward(body)
    return Option.match(decodeMessage(body), {
      onNone: () => forward(body),
      onSome: (message) =>
        "method" in message
          ? answer(message)
          : Effect.map(Effect.forEach(message, answer), (answers) => `[${answers.join(",")}]`)
    })
  }
}

const watched = /tempo_fundAddress|eth_estimateGas|eth_fillTransaction|"calls"/
const pricing = /^eth_(?:estimateGas|fillTransaction)$/

/** One million of each of the tokens that a chain begins with. */
const funded = (faucet: TempoFaucet.Faucet, to: unknown): Effect.Effect<Answer, ChainError> =>
  typeof to === "string" && isAddress(to, { strict: false })
    ? Effect.map(
      Effect.forEach(TempoFaucet.tokens, (token) => faucet(token, to, 10n ** 12n)),
      (result) => ({ result })
    )
    : Effect.succeed({ error: { code: -32602, message: "Expected an address" } })

// ---------------------------------------------------------------------------------------------------------------------
// Transactions
// ---------------------------------------------------------------------------------------------------------------------

const Call = Schema.Struct({
  to: Schema.optionalKey(Schema.NullOr(Schema.String)),
  data: Schema.optionalKey(Schema.NullOr(Anvil.HexText)),
  input: Schema.optionalKey(Schema.NullOr(Anvil.HexText)),
  value: Schema.optionalKey(Schema.NullOr(Schema.String))
})

/** A transaction before it is signed. */
const Proposal = Schema.Struct({
  ...Call.fields,
  from: Schema.optionalKey(Anvil.HexText),
  gas: Schema.optionalKey(Schema.Unknown),
  calls: Schema.optionalKey(Schema.Array(Call)),
  keyAuthorization: Schema.optionalKey(Schema.Unknown),
  keyData: Schema.optionalKey(Schema.Unknown),
  keyId: Schema.optionalKey(Schema.Unknown),
  keyType: Schema.optionalKey(Schema.Unknown)
})
const decodeProposal = Schema.decodeUnknownOption(Proposal)

const senderOf = ({ calls, from, ...call }: typeof Proposal.Type): ChannelReserve.Sender | undefined =>
  from && { payer: from, calls: (calls ?? [call]).map(({ data, input, to }) => ({ to, data: data ?? input })) }

const isSerialized = (text: unknown): text is TransactionSerialized =>
  typeof text === "string" && /^0x(?:[0-9a-f]{2})+$/i.test(text)

const isTempo = (serialized: Hex): serialized is Transaction.TransactionSerializedTempo => serialized.startsWith("0x76")

/** Who signed a transaction, and its hash without what a fee payer adds to it. */
const signerOf = (serialized: unknown): Effect.Effect<ChannelReserve.Sender | undefined> =>
  Effect.tryPromise(async () => {
    if (!isSerialized(serialized)) return undefined
    if (isTempo(serialized)) {
      const { signature: _, ...transaction } = Transaction.deserialize(serialized)
      const { calls = [], feePayerSignature, from } = transaction
      const unsigned = await Transaction.serialize(
        feePayerSignature === undefined ? transaction : { ...transaction, feePayerSignature: null }
      )
      return from && { payer: from, calls, hash: keccak256(concat([unsigned, from])) }
    }
    const payer = await recoverTransactionAddress({ serializedTransaction: serialized })
    const { r: _r, s: _s, v: _v, yParity: _yParity, ...unsigned } = parseTransaction(serialized)
    return { payer, calls: [unsigned], hash: keccak256(concat([serializeTransaction(unsigned), payer])) }
  }).pipe(Effect.orElseSucceed(() => undefined))

// ---------------------------------------------------------------------------------------------------------------------
// Simulation and gas
// ---------------------------------------------------------------------------------------------------------------------

const Simulated = Schema.Tuple([Schema.Struct({
  calls: Schema.Array(Schema.Struct({ gasUsed: Anvil.HexText, status: Anvil.HexText, returnData: Anvil.HexText }))
})])

const hasCalls = ({ calls = [] }: typeof Proposal.Type): boolean => calls.length > 0

/** Tries the calls of a transaction, one after the other. */
const simulate = Effect.fnUntraced(function*(node: Anvil.Anvil, { calls = [], from }: typeof Proposal.Type) {
  const [{ calls: tried }] = yield* Anvil.read(node, Simulated, "eth_simulateV1", [
    { blockStateCalls: [{ calls: calls.map((call) => ({ ...call, from })) }] },
    "latest"
  ])
  const reverted = tried.find(({ status }) => BigInt(status) === 0n)
  return { tried, error: reverted && { code: 3, message: "execution reverted", data: reverted.returnData } }
})

/** The node would try an empty creation of a contract instead, and find the gas too little for it. */
const called = (node: Anvil.Anvil, proposal: typeof Proposal.Type): Effect.Effect<Answer, ChainError> =>
  Effect.map(
    simulate(node, proposal),
    ({ error, tried }) => error === undefined ? { result: tried.at(-1)?.returnData ?? "0x" } : { error }
  )

const Gas = Schema.Struct({
  result: Schema.Union([
    Anvil.HexText,
    Schema.StructWithRest(
      Schema.Struct({
        tx: Schema.StructWithRest(Schema.Struct({ gas: Anvil.HexText }), [Schema.Record(Schema.String, Schema.Unknown)])
      }),
      [Schema.Record(Schema.String, Schema.Unknown)]
    )
  ])
})
const decodeGas = Schema.decodeUnknownOption(Schema.fromJsonString(Gas))

/**
 * What the node answers for a transaction of several calls is the price of none of them. So the calls are tried, one after
 * the other. The sum is too much, since each counts as a transaction of its own; only what is used is paid.
 */
const repriced = Effect.fnUntraced(function*(
  node: Anvil.Anvil,
  proposal: typeof Proposal.Type,
  answered: string
): Effect.fn.Return<Answer | undefined, ChainError> {
  const answer = decodeGas(answered)
  if (Option.isNone(answer) || !hasCalls(proposal) || proposal.gas !== undefined) return undefined
  const { error, tried } = yield* simulate(node, proposal)
  if (error !== undefined) return { error }
  const used = tried.reduce((sum, { gasUsed }) => sum + BigInt(gasUsed), 0n)
  const sum = (used * 5n) / 4n + 50_000n + priceOfKeys(proposal)
  const { result } = answer.value
  if (typeof result === "string") return { result: larger(result, sum) }
  return { result: { ...result, tx: { ...result.tx, gas: larger(result.tx.gas, sum) } } }
})

const priceOfKeys = ({ keyAuthorization, keyData, keyId, keyType }: typeof Proposal.Type): bigint =>
  (keyAuthorization ? 1_500_000n : 0n) + (keyData || keyId || keyType ? 100_000n : 0n)

const larger = (gas: Hex, other: bigint): Hex => BigInt(gas) > other ? gas : numberToHex(other)
