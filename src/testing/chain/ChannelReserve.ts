/**
 * A stand-in for Tempo's channel reserve on a local chain whose node has none: the contract, as Solidity source, and what a
 * transaction that calls it needs beforehand.
 *
 * It has the interface, the events, the errors and the rules of the reserve, and is enough to try a payer and a payee
 * against each other. What it costs, in gas, says nothing about Tempo. Missing are the policies of tokens (TIP-403,
 * TIP-1028), storage credits, the refusal of payees that cannot be paid, and that of a channel which is opened again in the
 * transaction that closed it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Address, Hex } from "viem"
import { Abis, Addresses } from "viem/tempo"
import { concat, decodeFunctionData, encodeFunctionData, keccak256, numberToHex, pad } from "viem/utils"
import type { ChainError } from "../../PaymentError.ts"
import type { Anvil } from "./Anvil.ts"
import { compile } from "./Solidity.ts"

/**
 * Where the reserve is on every Tempo chain.
 *
 * @category constants
 * @since 0.1.0
 */
export const address = Addresses.tip20ChannelReserve

/**
 * The source. The real reserve moves deposits without an allowance, and knows a hash of the transaction that opens a
 * channel; a contract can do neither. So {@link prepare} writes the allowance into the token and the hash into `contexts`
 * before such a transaction is sent. A simulation comes before the signature and finds no hash: it reads 1.
 *
 * @category constants
 * @since 0.1.0
 */
export const source = `// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

interface Token {
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

interface Signatures {
    function recover(bytes32 digest, bytes calldata signature) external view returns (address);
}

contract ChannelReserve {
    event ChannelOpened(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed payee,
        address operator,
        address token,
        address authorizedSigner,
        bytes32 salt,
        bytes32 expiringNonceHash,
        uint96 deposit
    );
    event Settled(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed payee,
        uint96 cumulativeAmount,
        uint96 deltaPaid,
        uint96 newSettled
    );
    event TopUp(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed payee,
        uint96 additionalDeposit,
        uint96 newDeposit
    );
    event CloseRequested(
        bytes32 indexed channelId, address indexed payer, address indexed payee, uint256 closeGraceEnd
    );
    event ChannelClosed(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed payee,
        uint96 settledToPayee,
        uint96 refundedToPayer
    );
    event CloseRequestCancelled(bytes32 indexed channelId, address indexed payer, address indexed payee);

    error ChannelAlreadyExists();
    error ChannelNotFound();
    error NotPayer();
    error NotPayeeOrOperator();
    error InvalidPayee();
    error ZeroDeposit();
    error InvalidSignature();
    error AmountExceedsDeposit();
    error AmountNotIncreasing();
    error CaptureAmountInvalid();
    error CloseNotReady();
    error DepositOverflow();

    struct ChannelDescriptor {
        address payer;
        address payee;
        address operator;
        address token;
        bytes32 salt;
        address authorizedSigner;
        bytes32 expiringNonceHash;
    }

    struct ChannelState {
        uint96 settled;
        uint96 deposit;
        uint32 closeRequestedAt;
    }

    struct Channel {
        ChannelDescriptor descriptor;
        ChannelState state;
    }

    uint64 public constant CLOSE_GRACE_PERIOD = 15 minutes;
    bytes32 public constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint96 cumulativeAmount)");
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    Signatures private constant signatures = Signatures(${Addresses.signatureVerifier});

    // The order of these two is known outside.
    mapping(bytes32 channelId => ChannelState) private channels;
    mapping(address payer => mapping(bytes32 salt => bytes32)) private contexts;

    function open(
        address payee,
        address operator,
        address token,
        uint96 deposit,
        bytes32 salt,
        address authorizedSigner
    ) external returns (bytes32 channelId) {
        if (payee == address(0)) revert InvalidPayee();
        if (deposit == 0) revert ZeroDeposit();
        bytes32 context = contexts[msg.sender][salt];
        if (context == 0) context = bytes32(uint256(1));
        channelId = computeChannelId(msg.sender, payee, operator, token, salt, authorizedSigner, context);
        if (channels[channelId].deposit > 0) revert ChannelAlreadyExists();
        channels[channelId].deposit = deposit;
        Token(token).transferFrom(msg.sender, address(this), deposit);
        emit ChannelOpened(
            channelId, msg.sender, payee, operator, token, authorizedSigner, salt, context, deposit
        );
    }

    function topUp(ChannelDescriptor calldata channel, uint96 additionalDeposit) external {
        (bytes32 channelId, ChannelState storage state) = find(channel);
        onlyPayer(channel);
        bool closing = state.closeRequestedAt > 0;
        if (additionalDeposit == 0 && !closing) return;
        if (additionalDeposit > type(uint96).max - state.deposit) revert DepositOverflow();
        state.deposit += additionalDeposit;
        state.closeRequestedAt = 0;
        if (additionalDeposit > 0) {
            Token(channel.token).transferFrom(msg.sender, address(this), additionalDeposit);
        }
        if (closing) emit CloseRequestCancelled(channelId, channel.payer, channel.payee);
        emit TopUp(channelId, channel.payer, channel.payee, additionalDeposit, state.deposit);
    }

    function settle(ChannelDescriptor calldata channel, uint96 cumulativeAmount, bytes calldata signature) external {
        (bytes32 channelId, ChannelState storage state) = find(channel);
        onlyPayeeOrOperator(channel);
        if (cumulativeAmount > state.deposit) revert AmountExceedsDeposit();
        if (cumulativeAmount <= state.settled) revert AmountNotIncreasing();
        onlySigned(channel, channelId, cumulativeAmount, signature);
        uint96 paid = cumulativeAmount - state.settled;
        state.settled = cumulativeAmount;
        Token(channel.token).transfer(channel.payee, paid);
        emit Settled(channelId, channel.payer, channel.payee, cumulativeAmount, paid, cumulativeAmount);
    }

    function close(
        ChannelDescriptor calldata channel,
        uint96 cumulativeAmount,
        uint96 captureAmount,
        bytes calldata signature
    ) external {
        (bytes32 channelId, ChannelState storage state) = find(channel);
        onlyPayeeOrOperator(channel);
        if (captureAmount < state.settled || captureAmount > cumulativeAmount) revert CaptureAmountInvalid();
        if (captureAmount > state.deposit) revert AmountExceedsDeposit();
        if (captureAmount > state.settled) onlySigned(channel, channelId, cumulativeAmount, signature);
        end(channel, channelId, captureAmount);
    }

    function requestClose(ChannelDescriptor calldata channel) external {
        (bytes32 channelId, ChannelState storage state) = find(channel);
        onlyPayer(channel);
        if (state.closeRequestedAt > 0) return;
        state.closeRequestedAt = uint32(block.timestamp);
        emit CloseRequested(channelId, channel.payer, channel.payee, block.timestamp + CLOSE_GRACE_PERIOD);
    }

    function withdraw(ChannelDescriptor calldata channel) external {
        (bytes32 channelId, ChannelState storage state) = find(channel);
        onlyPayer(channel);
        uint256 requestedAt = state.closeRequestedAt;
        if (requestedAt == 0 || block.timestamp < requestedAt + CLOSE_GRACE_PERIOD) revert CloseNotReady();
        end(channel, channelId, state.settled);
    }

    function getChannel(ChannelDescriptor calldata channel) external view returns (Channel memory) {
        return Channel(channel, channels[idOf(channel)]);
    }

    function getChannelState(bytes32 channelId) external view returns (ChannelState memory) {
        return channels[channelId];
    }

    function getChannelStatesBatch(bytes32[] calldata channelIds) external view returns (ChannelState[] memory states) {
        states = new ChannelState[](channelIds.length);
        for (uint256 i = 0; i < channelIds.length; i++) states[i] = channels[channelIds[i]];
    }

    function computeChannelId(
        address payer,
        address payee,
        address operator,
        address token,
        bytes32 salt,
        address authorizedSigner,
        bytes32 expiringNonceHash
    ) public view returns (bytes32) {
        return keccak256(
            abi.encode(
                payer, payee, operator, token, salt, authorizedSigner, expiringNonceHash, address(this), block.chainid
            )
        );
    }

    function domainSeparator() public view returns (bytes32) {
        return keccak256(
            abi.encode(
                DOMAIN_TYPEHASH, keccak256("TIP20 Channel Reserve"), keccak256("1"), block.chainid, address(this)
            )
        );
    }

    function getVoucherDigest(bytes32 channelId, uint96 cumulativeAmount) public view returns (bytes32) {
        bytes32 voucher = keccak256(abi.encode(VOUCHER_TYPEHASH, channelId, cumulativeAmount));
        return keccak256(abi.encodePacked(hex"1901", domainSeparator(), voucher));
    }

    function end(ChannelDescriptor calldata channel, bytes32 channelId, uint96 captured) private {
        ChannelState memory state = channels[channelId];
        delete channels[channelId];
        uint96 refunded = state.deposit - captured;
        if (captured > state.settled) Token(channel.token).transfer(channel.payee, captured - state.settled);
        if (refunded > 0) Token(channel.token).transfer(channel.payer, refunded);
        emit ChannelClosed(channelId, channel.payer, channel.payee, captured, refunded);
    }

    function find(ChannelDescriptor calldata channel) private view returns (bytes32 channelId, ChannelState storage state) {
        channelId = idOf(channel);
        state = channels[channelId];
        if (state.deposit == 0) revert ChannelNotFound();
    }

    function idOf(ChannelDescriptor calldata channel) private view returns (bytes32) {
        return computeChannelId(
            channel.payer,
            channel.payee,
            channel.operator,
            channel.token,
            channel.salt,
            channel.authorizedSigner,
            channel.expiringNonceHash
        );
    }

    function onlyPayer(ChannelDescriptor calldata channel) private view {
        if (msg.sender != channel.payer) revert NotPayer();
    }

    function onlyPayeeOrOperator(ChannelDescriptor calldata channel) private view {
        if (msg.sender == channel.payee) return;
        if (channel.operator == address(0) || msg.sender != channel.operator) revert NotPayeeOrOperator();
    }

    function onlySigned(
        ChannelDescriptor calldata channel,
        bytes32 channelId,
        uint96 cumulativeAmount,
        bytes calldata signature
    ) private view {
        address signer = channel.authorizedSigner == address(0) ? channel.payer : channel.authorizedSigner;
        try signatures.recover(getVoucherDigest(channelId, cumulativeAmount), signature) returns (address recovered) {
            if (recovered != signer) revert InvalidSignature();
        } catch {
            revert InvalidSignature();
        }
    }
}
`

const abi = Abis.tip20ChannelReserve

/**
 * Puts the stand-in in its place, unless the node has the reserve itself. Says whether the stand-in is there.
 *
 * @category functions
 * @since 0.1.0
 */
export const install = Effect.fnUntraced(function*(node: Anvil): Effect.fn.Return<boolean, ChainError> {
  const data = encodeFunctionData({ abi, functionName: "getChannelState", args: [word(0n)] })
  const state = yield* Effect.option(node.rpc("eth_call", [{ to: address, data }, "latest"]))
  // three words: a node that only has an address reserved for it answers with nothing, or not at all
  if (state._tag === "Some" && state.value === `0x${"0".repeat(3 * 64)}`) return false
  const codes = yield* compile(source)
  yield* node.rpc("anvil_setCode", [address, codes["ChannelReserve"]])
  return true
})

/**
 * A transaction that may call the reserve, or the simulation of one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sender {
  readonly payer: Address
  readonly calls: ReadonlyArray<{ readonly to?: string | null | undefined; readonly data?: Hex | null | undefined }>
  /** By which Tempo knows the transaction. A simulation has none yet. */
  readonly hash?: Hex
}

/**
 * Writes down what the stand-in cannot know, ahead of a transaction: that it may take deposits, and the hash.
 *
 * @category functions
 * @since 0.1.0
 */
export const prepare = Effect.fnUntraced(function*(
  node: Anvil,
  { calls, hash, payer }: Sender
): Effect.fn.Return<void, ChainError> {
  for (const { data, to } of calls) {
    const deposit = to?.toLowerCase() === address && data ? depositOf(data) : undefined
    if (deposit === undefined) continue
    yield* node.rpc("anvil_setStorageAt", [deposit.token, slot(allowances, payer, address), word(2n ** 256n - 1n)])
    if (hash === undefined || deposit.salt === undefined) continue
    yield* node.rpc("anvil_setStorageAt", [address, slot(contexts, payer, deposit.salt), hash])
  }
})

interface Deposit {
  readonly token: Address
  /** Of a channel that is opened. */
  readonly salt?: Hex
}

/** What a call pays into the reserve, if it pays. */
const depositOf = (data: Hex): Deposit | undefined => {
  try {
    const { args, functionName } = decodeFunctionData({ abi, data })
    if (functionName === "open") return { token: args[2], salt: args[4] }
    if (functionName === "topUp") return { token: args[0].token }
  } catch {
    // not for us to say: the chain will
  }
  return undefined
}

const word = (value: bigint): Hex => numberToHex(value, { size: 32 })

/** Where TIP-20 tokens keep allowances: by owner, then by spender. */
const allowances = 10n

/** Where the stand-in keeps hashes of transactions: by payer, then by salt. */
const contexts = 1n

/** Where a mapping within a mapping keeps the value of two keys. */
const slot = (mapping: bigint, ...keys: readonly [Hex, Hex]): Hex =>
  keys.reduce((at, key) => keccak256(concat([pad(key, { size: 32 }), at])), word(mapping))
