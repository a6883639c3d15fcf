# SPDX-License-Identifier: MIT
# fish completion for llmosctl

set -l commands load ls stat rm set evict verify grants revoke allow exec run tokenize inspect prepare device group lane policy audit top doctor version

function __llmosctl_models
    command ls /sys/fs/llmos/models 2>/dev/null
end

# The first argument after the command is still to be given.
function __llmosctl_needs_model
    set -l words (commandline -opc | string match -v -- '-*')
    test (count $words) -eq 2
end

complete -c llmosctl -f
complete -c llmosctl -l json -d 'Print JSON'
complete -c llmosctl -s h -l help -d 'Show help'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -l version -d 'Show the version'

complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a load -d 'Put model files into the kernel'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a ls -d 'List models'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a stat -d 'Show one model'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a rm -d 'Remove models'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a set -d 'Change how a model is evicted'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a evict -d 'Drop the memory of idle models'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a verify -d 'Compare a digest with a file, or with the memory now'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a grants -d 'Show who has a model open'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a revoke -d 'Take a model away from somebody'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a allow -d 'Let somebody open it again'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a exec -d 'Run a program with a path in place of {}'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a run -d 'Continue a text'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a tokenize -d 'Show the tokens of a text'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a inspect -d 'What kind of model it is'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a prepare -d 'Make the index from which every process attaches at once'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a device -d 'Devices and what they have'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a group -d 'What a cgroup may take of devices'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a lane -d 'Streams of work that take turns on devices'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a policy -d 'Show, attach and detach policies'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a audit -d 'Show the decisions of policies as they are made'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a top -d 'Devices, groups, lanes and models, live'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a doctor -d 'Say what keeps llmos from working here'
complete -c llmosctl -n "not __fish_seen_subcommand_from $commands" -a version -d 'Show the version of the library'

complete -c llmosctl -n '__fish_seen_subcommand_from device' -a 'ls add set rm'
complete -c llmosctl -n '__fish_seen_subcommand_from device' -x -l memory -a 'max auto' -d 'Capacity in bytes, max or auto'
complete -c llmosctl -n '__fish_seen_subcommand_from device' -x -l slots -d 'Lanes that may run at once'
complete -c llmosctl -n '__fish_seen_subcommand_from lane' -a ls
complete -c llmosctl -n '__fish_seen_subcommand_from policy' -a 'ls attach detach open close fair deadline shortest priority cache audit scx_llmos'
complete -c llmosctl -n '__fish_seen_subcommand_from policy' -l closed -d 'Leave its gate closed'
complete -c llmosctl -n '__fish_seen_subcommand_from audit; and not __fish_seen_subcommand_from policy' -x -l hook -a 'lane_key lane_slice evict_score admit' -d 'Only those of this hook'
complete -c llmosctl -n '__fish_seen_subcommand_from audit; and not __fish_seen_subcommand_from policy' -x -l count -d 'End after so many'
complete -c llmosctl -n '__fish_seen_subcommand_from top' -x -s d -l delay -d 'Seconds between two looks'
complete -c llmosctl -n '__fish_seen_subcommand_from top' -l once -d 'Print what happened in one such time, and end'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -l weights-in-place -d 'A CUDA device reads floating-point weights where the model lies'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -l device-layers -a 'all auto' -d 'Layers that run on a CUDA device'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -l device-share -d 'Take turns on the device with other engines'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -l no-cublas -d 'Own kernels for prompts on CUDA devices'
complete -c llmosctl -n '__fish_seen_subcommand_from group' -a 'show set memory.max memory.low time.weight time.max default'

complete -c llmosctl -n '__fish_seen_subcommand_from load' -F
complete -c llmosctl -n '__fish_seen_subcommand_from load' -x -l name -d 'Name of the model'
complete -c llmosctl -n '__fish_seen_subcommand_from load' -x -l mode -a '0400 0440 0444' -d 'Who may read it'
complete -c llmosctl -n '__fish_seen_subcommand_from load' -x -l owner -a '(__fish_complete_users)' -d 'User who owns it'
complete -c llmosctl -n '__fish_seen_subcommand_from load' -x -l group -a '(__fish_complete_groups)' -d 'Group it belongs to'
complete -c llmosctl -n '__fish_seen_subcommand_from load' -x -l node -a 'local interleave 0' -d 'NUMA nodes'
complete -c llmosctl -n '__fish_seen_subcommand_from load' -x -l page-size -a '2M 64K 4K' -d 'Largest page'
complete -c llmosctl -n '__fish_seen_subcommand_from load' -l evictable -d 'May be dropped while idle'
complete -c llmosctl -n '__fish_seen_subcommand_from load' -x -l priority -d 'Of eviction'
complete -c llmosctl -n '__fish_seen_subcommand_from load' -l replace -d 'Take the place of a model of that name'
complete -c llmosctl -n '__fish_seen_subcommand_from load' -r -l sign -d 'Detached PKCS#7 signature'
complete -c llmosctl -n '__fish_seen_subcommand_from load' -x -l bytes -d 'Length, where the file is a stream'
complete -c llmosctl -n '__fish_seen_subcommand_from load' -x -l threads -d 'That read'
complete -c llmosctl -n '__fish_seen_subcommand_from load' -l no-index -d 'Do not make the prepared index'
complete -c llmosctl -n '__fish_seen_subcommand_from load' -s q -l quiet -d 'Print nothing but errors'

complete -c llmosctl -n '__fish_seen_subcommand_from ls' -s l -l long -d 'Every column'

complete -c llmosctl -n '__fish_seen_subcommand_from rm evict prepare' -a '(__llmosctl_models)'
complete -c llmosctl -n '__fish_seen_subcommand_from stat set verify grants revoke allow exec; and __llmosctl_needs_model' -a '(__llmosctl_models)'
complete -c llmosctl -n '__fish_seen_subcommand_from verify; and not __llmosctl_needs_model' -F
complete -c llmosctl -n '__fish_seen_subcommand_from exec; and not __llmosctl_needs_model' -a '(__fish_complete_command)' -F

complete -c llmosctl -n '__fish_seen_subcommand_from set' -l evictable -d 'May be dropped while idle'
complete -c llmosctl -n '__fish_seen_subcommand_from set' -l no-evictable -d 'Is never dropped'
complete -c llmosctl -n '__fish_seen_subcommand_from set' -x -l priority -d 'Of eviction'

complete -c llmosctl -n '__fish_seen_subcommand_from revoke allow' -x -l pid -a '(__fish_complete_pids)' -d 'A process'
complete -c llmosctl -n '__fish_seen_subcommand_from revoke allow' -x -l uid -a '(__fish_complete_users)' -d 'A user'
complete -c llmosctl -n '__fish_seen_subcommand_from revoke allow' -r -l cgroup -d 'A cgroup and all below it'
complete -c llmosctl -n '__fish_seen_subcommand_from revoke' -l keep-access -d 'They may open it again'

complete -c llmosctl -n '__fish_seen_subcommand_from run tokenize inspect; and __llmosctl_needs_model' -a '(__llmosctl_models)' -F
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -s p -l prompt -d 'The text to continue'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -l stdin -d 'Read it from standard input'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -s n -l predict -d 'Tokens to write'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -l temp -d 'Temperature'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -s s -l seed -d 'Seed of the random choice'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -l top-k -d 'Choose among the k most probable'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -l top-p -d 'Among the fewest with this probability in all'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -l min-p -d 'Among those this probable beside the best'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -l repeat-penalty -d 'Divides the logits of recent tokens'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -l frequency-penalty -d 'Taken off for each recent occurrence'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -l presence-penalty -d 'Taken off for having occurred recently'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -l repeat-last-n -d 'How many tokens are recent'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -s r -l reverse-prompt -d 'Stop before this string'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -l special -d 'Control tokens in the prompt are meant'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -l ignore-eos -d 'Go on where the model ends the text'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -s t -l threads -d 'Threads'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -s c -l ctx-size -d 'Tokens that fit'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -l cache-type -a 'f16 q8_0' -d 'Type of the key-value cache'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -x -l device -a 'cpu cuda:0' -d 'What runs it'
complete -c llmosctl -n '__fish_seen_subcommand_from run' -l raw -d 'Print the generated text alone'

complete -c llmosctl -n '__fish_seen_subcommand_from tokenize' -l ids -d 'Only the ids, on one line'
complete -c llmosctl -n '__fish_seen_subcommand_from tokenize' -l no-special -d 'Without the tokens that begin and end a text'
complete -c llmosctl -n '__fish_seen_subcommand_from tokenize' -l no-bos -d 'The same'
complete -c llmosctl -n '__fish_seen_subcommand_from tokenize' -l parse-special -d 'Control tokens in the text are meant'
