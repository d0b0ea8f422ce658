/**
 * Compares, when nothing can be taken any more, what everybody says: the ledger, the chains, the authority of the sessions,
 * the merchants, and the callers. What it answers are the contradictions.
 */
import { Duration, Effect, Layer } from "effect"
import { FetchHttpClient } from "effect/http"
import { isAddressEqual } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import * as Ledger from "../../src/Ledger.ts"
import * as TempoSession from "../../src/rails/TempoSession.ts"
import * as Reconciler from "../../src/Reconciler.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as Channel from "../../src/wire/mpp/Channel.ts"
import * as Agent from "./agent.ts"
import type { Asked, Payer } from "./lanes.ts"
import { payee, priceOf, Shops, tariff } from "./shops.ts"

/** What every account begins with, on either chain. */
export const wealth = 60_000_000n

export const addressOf = ({ setup }: Payer) => {
  const { privateKey } = setup
  return privateKeyToAccount(`0x${privateKey.slice(2)}`).address
}

/** The chains' clocks go on until all that was signed has expired, and all blocks so far are final. */
export const expire = Effect.gen(function*() {
  const [tempo, evm] = [yield* Tempo.TempoChain, yield* Evm.EvmChain]
  for (const chain of [tempo, evm]) {
    yield* chain.setNextTimestamp((yield* chain.now) + 3_600n)
    yield* chain.mine(4)
  }
})

/** At these the handlers tell how often something was paid for, and nothing on a chain. */
const isSession = ({ counter }: Asked) =>
  counter === "/own/session" || counter === "/own/tariff" || counter === "/mppx/channel"

/** Deposits of channels, and what is left of them. */
const isReserve = (address: string) => isAddressEqual(address as `0x${string}`, Channel.escrowV2)

const isOnTempo = ({ counter }: Asked) =>
  counter === "/own/tempo" || counter === "/own/sponsored" || counter === "/mppx/tempo"

/** Whatever is open is asked about until nothing is, and what rests on a word until it is proven. */
const settle = Effect.gen(function*() {
  const [ledger, reconciler] = [yield* Ledger.Ledger, yield* Reconciler.Reconciler]
  for (let sweeps = 0; sweeps < 30; sweeps++) {
    const { open } = yield* reconciler.sweep
    const unproven = yield* ledger.unproven({ after: "", limit: 1 })
    if (open === 0 && unproven.length === 0) return
  }
})

/** Channels that wait for the next process are closed. */
const leave = Effect.gen(function*() {
  const [ledger, reconciler] = [yield* Ledger.Ledger, yield* Reconciler.Reconciler]
  yield* ledger.orphans
  for (const { id } of yield* ledger.sessions({ state: ["parked"] })) {
    yield* ledger.updateSession(id, { state: "closing" })
  }
  for (let sweeps = 0; sweeps < 10; sweeps++) {
    yield* reconciler.sweep
    const open = yield* ledger.sessions({ state: ["parked", "closing", "suspect", "live"] })
    if (open.every(({ rail }) => rail !== TempoSession.name)) return
  }
})

const sum = (all: ReadonlyArray<bigint>) => all.reduce((total, one) => total + one, 0n)

const inWords = (
  { authorizations, purchase }: {
    readonly purchase: Ledger.Purchase
    readonly authorizations: ReadonlyArray<Ledger.Authorization>
  }
) =>
  `${purchase.id} is ${purchase.delivery}, resumed ${purchase.resumes} times: ${
    authorizations.map(({ evidence, session, state }) =>
      `${session ?? "charge"} ${state} (${evidence.map(({ rank, what }) => `${rank} ${what}`).join(", ")})`
    ).join("; ")
  }`

/** What this payer's ledger says, against what everybody else does. */
const ofPayer = Effect.fnUntraced(function*(payer: Payer, at: number) {
  const problems: Array<string> = []
  const claim = (isSo: boolean, otherwise: string) => {
    if (!isSo) problems.push(`payer ${at}: ${otherwise}`)
  }
  const [tempo, evm, shops] = [yield* Tempo.TempoChain, yield* Evm.EvmChain, yield* Shops]
  const ledger = yield* Ledger.Ledger
  const address = addressOf(payer)
  const { agent, endpoint } = payer.setup
  yield* settle

  const figures = (counter: string) => ledger.standing(counter, Duration.toMillis(Agent.window))
  const [all, ofWallet, ofEndpoint] = [
    yield* figures(`agent:${agent}`),
    yield* figures(`wallet:${address.toLowerCase()}`),
    yield* figures(`wallet:${endpoint}`)
  ]
  const purchases = yield* ledger.purchases({})
  const sessions = yield* ledger.sessions({})
  const unsettled = yield* ledger.unsettled

  // Nothing is held, by the ledger or by the authority.
  claim(all.exposed === 0n, `$${all.exposed} micro-dollars are held still`)
  claim(unsettled.length === 0, `${unsettled.length} authorisations are open still`)
  for (const { id, state } of sessions) claim(state === "closed", `session ${id} is ${state}`)
  const account = (yield* shops.audit).accounts[at]!
  claim(account.reservedUsd === 0n, `the authority still reserves ${account.reservedUsd}`)

  // The budget is exact: what the ledger counts as spent is what has gone, to the unit.
  const left = { tempo: yield* tempo.balance(address), evm: yield* evm.balance(address) }
  const onChains = 2n * wealth - left.tempo - left.evm
  claim(ofWallet.spent === onChains, `the ledger counts ${ofWallet.spent} on chains, and ${onChains} are gone`)
  claim(
    ofEndpoint.spent === account.spentUsd,
    `the ledger counts ${ofEndpoint.spent} in sessions, and ${account.spentUsd} were debited`
  )
  claim(all.spent === onChains + account.spentUsd, `the budget counts ${all.spent}`)

  const mine = ({ from }: { readonly from: Evm.Transfer["from"] }) => isAddressEqual(from, address)
  const transfers = {
    tempo: (yield* tempo.transfers()).filter(mine).filter(({ to }) => !isReserve(to)),
    evm: (yield* evm.transfers).filter(mine)
  }
  /** Draws of one session, of which its figure shows that some were taken, and not which. */
  const alike = new Map<string, Array<Asked>>()
  const explained = new Set<string>()
  for (const asked of payer.asked) {
    const { counter, end, nth, order, story } = asked
    const price = counter === "/own/tariff" ? tariff : priceOf(nth)
    const named = purchases.filter(({ purchase }) => purchase.key.endsWith(`\n${order.name}`)).toReversed()
    const told = () => [...story, ...named.map(inWords)].join("\n    ")
    const fail = (isSo: boolean, otherwise: string) =>
      claim(isSo, `${order.name} at ${counter} ${otherwise}\n    ${told()}`)
    const moved = (isOnTempo(asked) ? transfers.tempo : transfers.evm).filter(({ units }) => units === price)
    const times = isSession(asked) ? shops.served(counter, nth) : moved.length
    if (!isSession(asked)) { for (const { transaction } of moved) explained.add(transaction) }

    fail(times <= 1, `was paid ${times} times`)
    if (counter === "/own/session") {
      const debited = shops.debits.filter((amount) => amount === price).length
      fail(debited === times, `was debited ${debited} times and served ${times} times`)
    }
    const presumed = named.flatMap(({ authorizations }) => authorizations).find(({ state }) => state === "presumed")
    if (presumed?.plan.kind === "draw" && end !== "content") {
      const name = presumed.session ?? ""
      alike.set(name, [...alike.get(name) ?? [], asked])
      fail(end !== "unspent", "ended as unspent, and nobody knows")
      continue
    }
    if (end === "content" || end === "paid") fail(times === 1, `ended as ${end}, and was paid ${times} times`)
    if (end === "unspent") fail(times === 0, "ended as unspent, and was paid")

    const settled = named.flatMap(({ authorizations }) => authorizations).filter(({ state }) => state === "settled")
    fail(settled.length === times, `was paid ${times} times, and the ledger says ${settled.length} times`)
    for (const { purchase, authorizations } of named) {
      const taken = sum(authorizations.map(({ spentUsd }) => spentUsd))
      fail(taken <= purchase.approvedUsd, `took ${taken} of ${purchase.approvedUsd} that were approved`)
      for (const { id, state } of authorizations) {
        fail(state === "settled" || state === "released", `has ${id}, which is ${state}`)
      }
    }
    for (const { evidence, plan } of settled) {
      const reference = evidence.at(-1)?.reference?.toLowerCase()
      const isKnown = plan.kind === "draw" || moved.some(({ transaction }) => transaction.toLowerCase() === reference)
      fail(isKnown, `was settled by ${reference}, which is no payment of it`)
    }
  }
  for (const [name, all] of alike) {
    const taken = all.filter(({ counter, nth }) => shops.served(counter, nth) > 0).length
    claim(
      taken > 0 && taken < all.length,
      `${taken} of ${all.length} draws of ${name} were taken, and nobody knows which`
    )
  }
  const strange = [...transfers.tempo, ...transfers.evm].filter(({ transaction }) => !explained.has(transaction))
  for (const { transaction, units } of strange) claim(false, `${transaction} of ${units} is of no request`)
  const paidTo = [...transfers.tempo, ...transfers.evm].filter(({ to }) => !isAddressEqual(to, payee(evm.accounts)))
  claim(paidTo.length === 0, `${paidTo.length} transfers went to somebody else`)
  return problems
})

/** All contradictions; none if all is well. */
export const audit = Effect.fnUntraced(function*(payers: ReadonlyArray<Payer>) {
  const agentOf = ({ setup }: Payer) =>
    Layer.fresh(
      Agent.layer({ ...setup, kill: null, mode: "pull", sweep: false }, {
        ledger: Agent.ledgerOf(setup.ledger),
        client: FetchHttpClient.layer
      })
    )
  const problems: Array<string> = []
  // A chain whose clock is ahead takes no transaction that is made by that of this machine.
  for (const payer of payers) yield* leave.pipe(Effect.provide(agentOf(payer)))
  yield* expire
  for (const [at, payer] of payers.entries()) {
    problems.push(...(yield* ofPayer(payer, at).pipe(Effect.provide(agentOf(payer)))))
  }
  // Everything that the merchants were paid is a request's.
  const [tempo, evm, shops] = [yield* Tempo.TempoChain, yield* Evm.EvmChain, yield* Shops]
  const { moved } = yield* shops.audit
  const debited = sum([...moved.values()])
  if (debited !== sum(shops.debits)) problems.push(`the authority says that ${debited} were debited`)
  const addresses = payers.map(addressOf)
  const others = [...(yield* tempo.transfers()), ...(yield* evm.transfers)].filter(({ from, to }) =>
    isAddressEqual(to, payee(evm.accounts)) && !isReserve(from) &&
    !addresses.some((address) => isAddressEqual(address, from))
  )
  if (others.length > 0) problems.push(`${others.length} payments are of nobody`)
  return { problems, ends: endsOf(payers) }
})

const endsOf = (payers: ReadonlyArray<Payer>) => {
  const ends = { content: 0, paid: 0, unspent: 0, uncertain: 0 }
  for (const { asked } of payers) {
    for (const { end } of asked) if (end !== undefined) ends[end]++
  }
  return ends
}
